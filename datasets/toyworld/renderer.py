"""Draws a scene with panda3d's software renderer: exact pinhole cameras, no window, no GPU, no X server.

Pictures are drawn at twice the asked size and averaged down, so that thin things neither sparkle nor crawl.
Needs the library libX11 (it is loaded, though never connected to a display).
"""

from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from worldmodel.datasets.toyworld.cars import build_car
from worldmodel.datasets.toyworld.landscape import Landscape
from worldmodel.datasets.toyworld.mesh import Mesh, Stage
from worldmodel.datasets.toyworld.panda import load_panda, open_pipe, panda_node, panda_texture
from worldmodel.datasets.toyworld.script import Vehicle

SUPERSAMPLE = 2
NEAR, FAR = 0.3, 1500.0


class SceneRenderer:
    """One scene, ready to be seen from any pinhole camera.

    Args:
        landscape: static meshes, textures, light.
        vehicles: the other road users; they are placed anew for every picture.
        size: width and height of the pictures, pixels.

    Raises:
        InputError: panda3d or its system library is missing.
    """

    def __init__(self, landscape: Landscape, vehicles: list[Vehicle], size: tuple[int, int]) -> None:
        self.size = size
        self._core = core = load_panda()
        self._engine = core.GraphicsEngine()
        self._buffer, self._picture = self._open_buffer()
        self._root = core.NodePath("world")
        self._textures = {name: panda_texture(core, name, pixels) for name, pixels in landscape.textures.items()}
        self._add_stage(landscape.stage, self._root)
        self._sky = self._add_sky(landscape)
        self._cars = [(vehicle, self._add_car(vehicle, landscape)) for vehicle in vehicles]
        self._camera = self._root.attach_new_node(core.Camera("camera"))
        region = self._buffer.make_display_region()
        region.set_camera(self._camera)

    def _open_buffer(self) -> tuple[Any, Any]:
        core = self._core
        pipe = open_pipe(core)
        wanted = core.FrameBufferProperties()
        wanted.set_rgba_bits(8, 8, 8, 8)
        wanted.set_depth_bits(24)
        width, height = (side * SUPERSAMPLE for side in self.size)
        window = core.WindowProperties.size(width, height)
        buffer = self._engine.make_output(pipe, "toyworld", 0, wanted, window, core.GraphicsPipe.BF_refuse_window)
        picture = core.Texture()
        buffer.add_render_texture(picture, core.GraphicsOutput.RTM_copy_ram)
        buffer.set_clear_color_active(True)
        buffer.set_clear_color((0.7, 0.8, 0.9, 1))
        return buffer, picture

    def _add_stage(self, stage: Stage, parent: Any) -> None:
        core = self._core
        for (layer, texture, _), mesh in sorted(stage.meshes.items()):
            path = parent.attach_new_node(panda_node(self._core, mesh, f"{layer} {texture}"))
            if texture:
                path.set_texture(self._textures[texture])
            path.set_attrib(core.ColorAttrib.make_vertex())
            # panda3d would sort by the address of a state, which differs between processes, and so would the winner
            # where two surfaces meet; unsorted means in the order of this loop.
            path.set_bin("unsorted", 0)
            if layer < 10:
                path.set_bin("background", 10 + layer)
                path.set_depth_test(False)
                path.set_depth_write(False)
                path.set_two_sided(True)
            if layer in (8, 9):
                path.set_transparency(core.TransparencyAttrib.M_alpha)
                path.set_bin("background", 10 + layer)

    def _add_car(self, vehicle: Vehicle, landscape: Landscape) -> Any:
        path = self._root.attach_new_node(vehicle.body)
        self._add_stage(build_car(vehicle.body, vehicle.colour, landscape.light), path)
        path.flatten_strong()
        return path

    def _add_sky(self, landscape: Landscape) -> Any:
        """A bowl of sky and a ring of hills that follow the camera: they are infinitely far."""
        path = self._root.attach_new_node("sky")
        dome, hills = Mesh(), Mesh()
        rings = np.array([-0.05, 0.0, 0.1, 0.22, 0.4, 0.7, 1.1, 1.5707])
        azimuth = np.linspace(0, 2 * np.pi, 33)
        e, a = np.meshgrid(rings, azimuth, indexing="ij")
        xyz = 900 * np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
        uv = np.stack([3 * a / (2 * np.pi), np.clip(e / 1.5707, 0.004, 0.99)], axis=-1)
        dome.add(xyz.reshape(-1, 3), uv.reshape(-1, 2), np.ones(4), _grid_triangles(len(rings), 33))
        angle, height = landscape.hills_N2.T
        base = np.column_stack([np.cos(angle), np.sin(angle), np.full_like(angle, -0.02)])
        top = base + np.column_stack([np.zeros((len(angle), 2)), height + 0.02])
        ring = 850 * np.concatenate([base, top])
        shade = np.concatenate([np.full(len(angle), 1.25), np.full(len(angle), 0.95)])[:, None]
        colours = np.clip(np.column_stack([shade * landscape.hill_colours, np.ones(2 * len(angle))]), 0, 1)
        hills.add(ring, None, colours, _grid_triangles(2, len(angle)))
        for order, mesh in enumerate((dome, hills)):
            part = path.attach_new_node(panda_node(self._core, mesh, "sky"))
            part.set_attrib(self._core.ColorAttrib.make_vertex())
            part.set_bin("background", order)
            part.set_depth_test(False)
            part.set_depth_write(False)
            part.set_two_sided(True)
            if order == 0:
                part.set_texture(self._textures["sky"])
        return path

    def draw(
        self, intrinsic: Float64[np.ndarray, "3 3"], camera_to_global: Float64[np.ndarray, "4 4"], time_s: float
    ) -> UInt8[np.ndarray, "H W 3"]:
        """One picture.

        Args:
            intrinsic: pinhole matrix in pixels of the picture; no skew.
            camera_to_global: pose of the camera (x right, y down, z forward), metres.
            time_s: the instant at which the other cars are shown.
        """
        self._aim(intrinsic, camera_to_global)
        for vehicle, path in self._cars:
            x, y, yaw = vehicle.motion.at(time_s)
            path.set_pos_hpr(x, y, 0, float(np.degrees(yaw)), 0, 0)
        self._engine.render_frame()
        width, height = self.size
        raw = bytes(self._picture.get_ram_image_as("RGB"))
        picture = Image.frombuffer("RGB", (width * SUPERSAMPLE, height * SUPERSAMPLE), raw, "raw", "RGB", 0, -1)
        return np.asarray(picture.reduce(SUPERSAMPLE))

    def _aim(self, intrinsic: np.ndarray, camera_to_global: np.ndarray) -> None:
        core = self._core
        width, height = self.size
        (fx, _, cx), (_, fy, cy) = intrinsic[:2]
        lens = core.PerspectiveLens()
        lens.set_near_far(NEAR, FAR)
        lens.set_film_size(width, height * fx / fy)
        lens.set_focal_length(fx)
        # The film shifts so that the principal point lies at (cx, cy) from the top left corner.
        lens.set_film_offset(width / 2 - cx, (cy - height / 2) * fx / fy)
        self._camera.node().set_lens(lens)
        right, down, forward, at = camera_to_global[:3].T
        rows = [*right, 0, *forward, 0, *(-down), 0, *at, 1]
        self._camera.set_mat(core.LMatrix4f(*(float(v) for v in rows)))
        self._sky.set_pos(*(float(v) for v in at))

    def close(self) -> None:
        """Frees the buffer."""
        self._engine.remove_all_windows()


def _grid_triangles(rows: int, columns: int) -> np.ndarray:
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    first = (row * columns + column).ravel()
    return np.concatenate(
        [
            np.column_stack([first, first + 1, first + columns + 1]),
            np.column_stack([first, first + columns + 1, first + columns]),
        ]
    )
