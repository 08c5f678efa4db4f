"""panda3d itself: loading it, and turning our meshes and pictures into its nodes and textures."""

from functools import lru_cache
from typing import Any

import numpy as np

from worldmodel.datasets.toyworld.mesh import Mesh
from worldmodel.errors import InputError, MissingDependency

MISSING = (
    "toy world: panda3d's software renderer does not load; install it with `pip install panda3d` and, "
    "on Debian or Ubuntu, its one system library with `apt-get install libx11-6`"
)

SETTINGS = """
window-type offscreen
load-display p3tinydisplay
audio-library-name null
notify-level error
default-directnotify-level error
notify-level-display fatal
sync-video 0
textures-power-2 none
td-texture-ram 268435456
garbage-collect-states 0
"""


@lru_cache
def load_panda() -> Any:
    """The module `panda3d.core`, set to draw without a window.

    Raises:
        MissingDependency: panda3d is not installed.
    """
    try:
        from panda3d import core
    except ImportError as error:
        raise MissingDependency(MISSING) from error
    core.load_prc_file_data("toyworld", SETTINGS)
    return core


def open_pipe(core: Any) -> Any:
    """The software renderer.

    Raises:
        InputError: it does not load, which means that libX11 is missing.
    """
    pipe = core.GraphicsPipeSelection.get_global_ptr().make_pipe("TinyOffscreenGraphicsPipe")
    if pipe is None:
        raise InputError(MISSING)
    return pipe


def panda_texture(core: Any, name: str, pixels: np.ndarray) -> Any:
    """A texture with mipmaps from a picture [H, W, 3] in 0..1; it repeats, the sky only sideways."""
    height, width = pixels.shape[:2]
    texture = core.Texture(name)
    texture.setup_2d_texture(width, height, core.Texture.T_unsigned_byte, core.Texture.F_rgb)
    bgr = np.ascontiguousarray((pixels[::-1, :, ::-1] * 255 + 0.5).astype(np.uint8))
    texture.set_ram_image(bgr.tobytes())
    texture.set_minfilter(core.SamplerState.FT_linear_mipmap_linear)
    texture.set_magfilter(core.SamplerState.FT_linear)
    texture.set_wrap_u(core.SamplerState.WM_repeat)
    texture.set_wrap_v(core.SamplerState.WM_clamp if name == "sky" else core.SamplerState.WM_repeat)
    return texture


def panda_node(core: Any, mesh: Mesh, name: str) -> Any:
    """A node that draws a mesh."""
    layout = core.GeomVertexFormat.get_v3c4t2()
    data = core.GeomVertexData(name, layout, core.Geom.UH_static)
    rows = np.zeros(mesh.count, dtype=[("xyz", "<f4", 3), ("rgba", "u1", 4), ("uv", "<f4", 2)])
    rows["xyz"], rows["uv"] = np.concatenate(mesh.xyz), np.concatenate(mesh.uv)
    rows["rgba"] = (np.concatenate(mesh.rgba) * 255 + 0.5).astype(np.uint8)
    data.unclean_set_num_rows(mesh.count)
    data.modify_array_handle(0).copy_data_from(rows.tobytes())
    triangles = core.GeomTriangles(core.Geom.UH_static)
    triangles.set_index_type(core.Geom.NT_uint32)
    indices = np.concatenate(mesh.triangles).astype("<u4")
    array = triangles.modify_vertices()
    array.unclean_set_num_rows(indices.size)
    array.modify_handle().copy_data_from(indices.tobytes())
    geom = core.Geom(data)
    geom.add_primitive(triangles)
    node = core.GeomNode(name)
    node.add_geom(geom)
    return node
