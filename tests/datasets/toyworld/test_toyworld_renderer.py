"""Drawing: exact pinhole cameras, the devkit's boxes lie on the cars, a missing renderer is named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.toyworld.cars import BODIES, PROFILES, build_car
from worldmodel.datasets.toyworld.landscape import Landscape
from worldmodel.datasets.toyworld.mesh import Light, Stage
from worldmodel.datasets.toyworld.renderer import SceneRenderer
from worldmodel.datasets.toyworld.rig import RIG, RigCamera, pose_matrix

LIGHT = Light(np.array([0.0, 0.0, 1.0]), 1.0, 0.0, np.ones(3))
SIZE = (480, 270)


def bare_landscape(stage: Stage) -> Landscape:
    """A black sky, black hills, black ground and what is on the stage."""
    field = np.array([[-900.0, -900, 0], [900, -900, 0], [900, 900, 0], [-900, 900, 0]])
    stage.polygon(field, np.zeros(3), layer=0)
    hills = np.column_stack([np.linspace(0, 2 * np.pi, 9), np.full(9, 0.01)])
    return Landscape(stage, {"sky": np.zeros((8, 8, 3))}, LIGHT, hills, np.zeros(3))


def project(camera: RigCamera, ego: np.ndarray, points_V3: np.ndarray) -> np.ndarray:
    camera_from_global = np.linalg.inv(ego @ camera.extrinsic())
    seen = camera_from_global[:3, :3] @ points_V3.T + camera_from_global[:3, 3:]
    pixels = camera.intrinsic(SIZE) @ seen
    return (pixels[:2] / pixels[2]).T


@pytest.mark.parametrize("camera", RIG, ids=lambda camera: camera.channel)
def test_projected_corners_lie_on_drawn_pixels(camera: RigCamera) -> None:
    """A bright box seen by each camera: its drawn outline is where the pinhole matrices say."""
    ego = pose_matrix(120.0, 80.0, 0.7)
    pose = ego @ camera.extrinsic()
    offsets = []
    for sideways in (-0.45, 0.0, 0.45):
        x, y, _ = pose[:3, 3] + 9.0 * (pose[:3, 2] + sideways * pose[:3, 0])
        stage = Stage(LIGHT)
        stage.box((float(x), float(y), 0.3), (1.6, 1.2, 1.9), 0.4, np.ones(3))
        renderer = SceneRenderer(bare_landscape(stage), [], SIZE)
        lit = (
            renderer.draw(camera.intrinsic(SIZE), pose, 0.0).max(axis=2) > 40
        )  # one of the four drawn pixels behind it
        renderer.close()
        rows, columns = np.nonzero(lit)
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        points = np.concatenate([piece for key, mesh in stage.meshes.items() if key[0] >= 10 for piece in mesh.xyz])
        pixels = project(camera, ego, points.astype(np.float64))
        expected = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        assert np.abs(drawn - expected).max() < 1.25, (drawn, expected)
        offsets.append((drawn - expected).reshape(2, 2).mean(axis=0))
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.4, "the outline is not displaced"


def test_nearer_things_hide_farther_ones() -> None:
    camera = RIG[0]
    pose = pose_matrix(0.0, 0.0, 0.0) @ camera.extrinsic()
    stage = Stage(LIGHT)
    stage.box((12.0, 0.0, 0.0), (1.0, 3.0, 3.0), 0.0, np.array([1.0, 0.0, 0.0]))
    stage.box((20.0, 0.0, 0.0), (1.0, 3.0, 3.0), 0.0, np.array([0.0, 1.0, 0.0]))
    renderer = SceneRenderer(bare_landscape(stage), [], SIZE)
    picture = renderer.draw(camera.intrinsic(SIZE), pose, 0.0)
    renderer.close()
    (column, row), *_ = project(camera, np.eye(4), np.array([[11.5, 0.0, 1.5]]))
    red, green, blue = picture[int(row), int(column)]
    assert red > 200 and green == blue == 0


@pytest.mark.parametrize("body", BODIES)
def test_cars_fill_their_boxes(body: str) -> None:
    """A car's surfaces (shadow apart) reach the annotated length, width and height to within 15 cm."""
    stage = build_car(body, (0.5, 0.5, 0.5), LIGHT)
    xyz = np.concatenate([piece for key, mesh in stage.meshes.items() if key[0] >= 10 for piece in mesh.xyz])
    length, width, height = BODIES[body][0]
    half = np.array([length / 2, width / 2, height])
    assert np.abs(xyz.max(axis=0) - half).max() < 0.15
    assert np.abs(xyz.min(axis=0) + [length / 2, width / 2, 0.0]).max() < 0.15
    assert body in PROFILES or height > 3


PROBE = """
import sys
{before}
from pathlib import Path
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.errors import UserError
assert "panda3d" not in {{name for name, module in sys.modules.items() if module}}, "loaded too early"
try:
    make_toyworld(Path(sys.argv[1]), ToyWorldConfig(), progress=False)
except UserError as error:
    print(error)
"""


def refused(repository: Path, target: Path, before: str, **environment: str) -> str:
    command = [sys.executable, "-c", PROBE.format(before=before), str(target)]
    done = subprocess.run(command, cwd=repository, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_missing_panda3d_is_named(repository: Path, tmp_path: Path) -> None:
    said = refused(repository, tmp_path / "toy", "sys.modules['panda3d'] = None")
    assert "pip install panda3d" in said and "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the system library is a Linux matter")
def test_missing_system_library_is_named(repository: Path, tmp_path: Path) -> None:
    """An unreadable libX11 in front of the system's stands for a machine that has none."""
    (tmp_path / "libX11.so.6").write_bytes(b"")
    said = refused(repository, tmp_path / "toy", "", LD_LIBRARY_PATH=str(tmp_path))
    assert "apt-get install libx11-6" in said and "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["libX11.so.6"]
