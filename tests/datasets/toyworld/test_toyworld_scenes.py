"""Scripts: all kinds occur, cars move as cars do, nobody drives through anybody."""

import numpy as np
import pytest

from worldmodel.datasets.nuscenes import RING
from worldmodel.datasets.toyworld.cars import BODIES
from worldmodel.datasets.toyworld.mesh import footprint
from worldmodel.datasets.toyworld.rig import RIG
from worldmodel.datasets.toyworld.scenes import KINDS, scene_script
from worldmodel.datasets.toyworld.script import SceneScript

SECONDS = 8.0


def val(index: int, seed: int = 0) -> SceneScript:
    return scene_script(seed, "val", index, f"toy-{9000 + index}", SECONDS)


def ego_path(script: SceneScript) -> np.ndarray:
    return np.array([script.ego.at(time) for time in np.arange(0, SECONDS, 1 / 12)])


def test_kinds_take_turns() -> None:
    assert tuple(val(index).kind for index in range(5)) == KINDS


def test_scripts_follow_from_seed_split_and_index() -> None:
    first, again = ego_path(val(1)), ego_path(val(1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, ego_path(val(1, seed=1)))
    assert not np.allclose(first, ego_path(scene_script(0, "train", 1, "toy-0001", SECONDS)))


@pytest.mark.parametrize("index", range(8))
def test_ego_drives_like_a_car(index: int) -> None:
    script = val(index)
    path = ego_path(script)
    steps = np.diff(path, axis=0)
    speed = np.hypot(steps[:, 0], steps[:, 1]) * 12
    assert speed.max() < 13 and speed.mean() > 3
    assert script.kind == "stop_and_go" or speed.min() > 3
    assert np.abs(np.diff(speed)).max() * 12 < 6, "acceleration, m/s^2"
    assert np.abs(steps[:, 2]).max() * 12 < 1.0, "turning, rad/s"
    moving = speed > 1
    course = np.arctan2(steps[:, 1], steps[:, 0])
    middle = (path[:-1, 2] + path[1:, 2]) / 2
    assert np.abs(np.angle(np.exp(1j * (course - middle))))[moving].max() < 0.05, "drives where it points"


def test_kinds_do_what_they_say() -> None:
    turned = {index: np.degrees(np.ptp(ego_path(val(index))[:, 2])) for index in range(5)}
    assert turned[2] > 80 and turned[1] > 20 and turned[0] < 10
    stop = np.diff(ego_path(val(3))[:, :2], axis=0)
    assert np.hypot(*stop.T).min() * 12 < 2.5
    ego = val(4).ego
    others = [v.motion for v in val(4).vehicles if not v.parked]
    along = []
    for time in (0.0, SECONDS):
        x, y, yaw = ego.at(time)
        along.append([(m.at(time)[0] - x) * np.cos(yaw) + (m.at(time)[1] - y) * np.sin(yaw) for m in others])
    same_way = [np.cos(m.at(0)[2] - ego.at(0)[2]) > 0.9 for m in others]
    assert any(abs(b - a) > 10 for a, b, same in zip(*along, same_way, strict=True) if same), "one overtakes the other"


@pytest.mark.parametrize("index", range(8))
def test_nobody_drives_through_the_ego_vehicle(index: int) -> None:
    script = val(index)
    for time in np.arange(0, SECONDS, 0.25):
        x, y, yaw = script.ego.at(time)
        ego = footprint((x + 1.35 * np.cos(yaw), y + 1.35 * np.sin(yaw), yaw), 4.4, 1.8)
        grid = [a * ego[0] + b * ego[1] + (1 - a - b) * ego[3] for a in np.linspace(0, 1, 7) for b in (0.0,)]
        points = np.concatenate([ego, grid])
        for vehicle in script.vehicles:
            cx, cy, heading = vehicle.motion.at(time)
            length, width, _ = BODIES[vehicle.body][0]
            dx, dy = points[:, 0] - cx, points[:, 1] - cy
            inside = (np.abs(dx * np.cos(heading) + dy * np.sin(heading)) < length / 2) & (
                np.abs(dy * np.cos(heading) - dx * np.sin(heading)) < width / 2
            )
            assert not inside.any(), (script.kind, vehicle.body, time)


def test_cameras_look_around_in_ring_order() -> None:
    looks = {camera.channel: camera.extrinsic()[:3, 2] for camera in RIG}
    azimuth = [np.degrees(np.arctan2(looks[channel][1], looks[channel][0])) for channel in RING]
    assert np.allclose(azimuth[:3], [55, 0, -55], atol=3)
    assert np.all(np.diff(np.unwrap(azimuth, period=360)) < 0), "clockwise"
    for camera in RIG:
        rotation = camera.extrinsic()[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert rotation[2, 1] < -0.99, "a picture's rows go down"
