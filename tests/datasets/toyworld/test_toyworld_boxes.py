"""Cars and boxes: what is drawn lies in the annotated box, surfaces face outwards, boxes follow the cars in time."""

from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.toyworld import ToyWorldConfig
from worldmodel.datasets.toyworld.cars import BODIES, PROFILES, build_car
from worldmodel.datasets.toyworld.firing import scene_firing
from worldmodel.datasets.toyworld.landscape import Landscape
from worldmodel.datasets.toyworld.lines import Motion
from worldmodel.datasets.toyworld.mesh import Light, Stage
from worldmodel.datasets.toyworld.renderer import SceneRenderer
from worldmodel.datasets.toyworld.scenes import scene_script
from worldmodel.datasets.toyworld.script import Vehicle
from worldmodel.datasets.toyworld.tables import SceneTables

LIGHT = Light(np.array([0.0, 0.0, 1.0]), 1.0, 0.0, np.ones(3))
SIZE = (320, 180)
# The principal point is far from the middle and pixels are not square.
INTRINSIC = np.array([[260.0, 0.0, 101.0], [0.0, 221.0, 117.0], [0.0, 0.0, 1.0]])


def looking_at(target: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Pose of a level camera (x right, y down, z forward) at `position` that sees `target` on its axis."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(forward, right), forward, position])
    return pose


def pixels_of(points_V3: np.ndarray, pose: np.ndarray) -> np.ndarray:
    seen = (points_V3 - pose[:3, 3]) @ pose[:3, :3]
    projected = seen @ INTRINSIC.T
    return projected[:, :2] / projected[:, 2:]


def draw_dark(stage: Stage, vehicles: list[Vehicle], pose: np.ndarray, time_s: float = 0.0) -> np.ndarray:
    """A picture of these things on black ground under a black sky."""
    stage.polygon(np.array([[-400, -400, 0], [400, -400, 0], [400, 400, 0], [-400, 400, 0]]), np.zeros(3), layer=0)
    hills = np.column_stack([np.linspace(0, 2 * np.pi, 9), np.full(9, 0.01)])
    dark = Landscape(stage, {"sky": np.zeros((8, 8, 3))}, LIGHT, hills, np.zeros(3))
    renderer = SceneRenderer(dark, vehicles, SIZE)
    picture = renderer.draw(INTRINSIC, pose, time_s)
    renderer.close()
    return picture


def test_marker_lands_where_matrices_say_for_an_off_centre_principal_point() -> None:
    pose = looking_at(np.array([40.0, 31.0, 1.0]), np.array([52.0, 20.0, 6.0]))
    for column, row in ((40.0, 30.0), (101.0, 117.0), (290.0, 160.0)):
        depth, radius = 14.0, 0.25
        x, y = (np.array([column, row]) - INTRINSIC[:2, 2]) / np.diag(INTRINSIC)[:2] * depth
        corners = np.array([[x - radius, y - radius], [x - radius, y + radius], [x + radius, y + radius]])
        corners = np.vstack([corners, [x + radius, y - radius]])
        marker = np.column_stack([corners, np.full(4, depth)]) @ pose[:3, :3].T + pose[:3, 3]
        stage = Stage(LIGHT)
        stage.polygon(marker, np.ones(3))
        weight = draw_dark(stage, [], pose).max(axis=2).astype(float)
        assert weight.max() > 200, "the marker faces the camera"
        rows, columns = np.indices(weight.shape) + 0.5
        drawn = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        assert np.abs(drawn - [column, row]).max() < 0.35, (drawn, column, row)


@pytest.mark.parametrize("body", BODIES)
def test_drawn_car_fills_its_projected_box(body: str) -> None:
    """A moving car, drawn at an instant: its outline is that of the box around its position at that instant."""
    times = np.array([0.0, 2.0])
    motion = Motion(times, np.array([60.0, 80.0]), np.array([50.0, 60.0]), np.array([0.3, 0.7]))
    x, y, yaw = motion.at(1.0)
    (length, width, height), _ = BODIES[body]
    forward, left = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    middle = np.array([x, y, 0.0])
    corners = np.array(
        [
            middle + a * length / 2 * forward + b * width / 2 * left + [0.0, 0.0, c]
            for a in (-1, 1)
            for b in (-1, 1)
            for c in (0.0, height)
        ]
    )
    pose = looking_at(middle + [0.0, 0.0, 0.5], middle + [-14.0, 12.0, 5.0])
    vehicle = Vehicle(body, (0.9, 0.9, 0.9), motion, False)
    rows, columns = np.nonzero(draw_dark(Stage(LIGHT), [vehicle], pose, 1.0).max(axis=2) > 10)
    drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    box = pixels_of(corners, pose)
    expected = np.concatenate([box.min(axis=0), box.max(axis=0)])
    tall, wide = expected[3] - expected[1], expected[2] - expected[0]
    outside = np.concatenate([expected[:2] - drawn[:2], drawn[2:] - expected[2:]])
    assert outside.max() < 2.5, "nothing but the width of a tyre sticks out of the box"
    assert outside.min() > -0.25 * max(tall, wide), "the car fills its box, rounded corners apart"


@pytest.mark.parametrize("body", PROFILES)
def test_every_wall_of_a_car_faces_outwards(body: str) -> None:
    """A wall turned inwards is invisible from its own side: one would see through the car to its far wall."""
    stage = build_car(body, (0.5, 0.5, 0.5), LIGHT)
    half = BODIES[body][0][1] / 2
    walls = 0
    for (layer, _, _), mesh in stage.meshes.items():
        if layer < 10:
            continue
        corners = np.concatenate(mesh.xyz)[np.concatenate(mesh.triangles)].astype(np.float64)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        y = corners[:, :, 1].mean(axis=1)
        sideways = (np.abs(normal[:, 1]) > 0.9) & (np.abs(y) > 0.75 * half)
        assert (normal[sideways, 1] * y[sideways] > 0).all()
        walls += int(sideways.sum())
    assert walls >= 20


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_car_shows_head_lights_in_front_and_red_ones_behind(side: float) -> None:
    still = Motion(np.array([0.0, 1.0]), np.full(2, 50.0), np.full(2, 50.0), np.zeros(2))
    pose = looking_at(np.array([50.0, 50.0, 0.7]), np.array([50.0 + side * 9.0, 50.0, 1.4]))
    picture = draw_dark(Stage(LIGHT), [Vehicle("saloon", (0.3, 0.3, 0.3), still, True)], pose).astype(int)
    red = int(((picture[..., 0] > 120) & (picture[..., 1] < 40)).sum())
    pale = int((picture.min(axis=2) > 170).sum())
    assert (pale > 20 and red == 0) if side > 0 else (red > 20 and pale == 0)


@pytest.mark.devkit
def test_boxes_between_keyframes_are_where_the_cars_are(toy_root: Path, small: ToyWorldConfig) -> None:
    """The devkit interpolates boxes to each sweep's time; the script knows where the cars were then."""
    from nuscenes.nuscenes import NuScenes

    nusc = NuScenes(small.version, str(toy_root), verbose=False)
    number, (split, index, name) = next((n, s) for n, s in enumerate(small.scenes()) if s[0] == "val")
    script = scene_script(small.seed, split, index, name, small.seconds + 0.5)
    firing = scene_firing(small.seed, split, index, small.seconds)
    tables = SceneTables(script, firing, small.seed, number, small.size)
    logs = {log["token"]: log["logfile"] for log in nusc.log}
    scene = next(s for s in nusc.scene if s["name"] == name)
    assert logs[scene["log_token"]] == tables.logfile
    token, compared = nusc.get("sample", scene["first_sample_token"])["data"]["CAM_BACK_LEFT"], 0
    while token:
        data = nusc.get("sample_data", token)
        now = tables.script_s(data["timestamp"])
        cars = np.array([vehicle.motion.at(now)[:2] for vehicle in script.vehicles])
        for box in nusc.get_boxes(token):
            if not nusc.get("sample_annotation", box.token)["prev"]:
                continue  # a car that came near only just now has no earlier box to interpolate from
            assert np.hypot(*(cars - box.center[:2]).T).min() < 0.15, (name, data["timestamp"])
            compared += 1
        token = data["next"]
    assert compared > 19, "at least one car is near"
