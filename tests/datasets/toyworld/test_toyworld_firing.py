"""When the toy cameras fire: as the real rig does, from the rule down to the written tables."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from worldmodel.datasets.timing import is_gap, nominal_rate
from worldmodel.datasets.toyworld.firing import Firing, scene_firing, triggered_turns
from worldmodel.datasets.toyworld.rig import RIG, RigCamera
from worldmodel.datasets.toyworld.rows import Rows
from worldmodel.datasets.toyworld.scenes import scene_script
from worldmodel.datasets.toyworld.script import SceneScript
from worldmodel.datasets.toyworld.tables import SceneTables

SECONDS = 20.0
PUBLISHED_MS = {  # key frames of scene-0103 after the lidar's stamp, in the mean
    "CAM_FRONT": -35.4, "CAM_FRONT_RIGHT": -27.3, "CAM_BACK_RIGHT": -19.7,
    "CAM_BACK": -10.3, "CAM_BACK_LEFT": -0.4, "CAM_FRONT_LEFT": -42.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def firings() -> list[Firing]:
    """Three hundred scenes of 20 s, two nuScenes val splits."""
    return [scene_firing(0, "train", index, SECONDS) for index in range(300)]


@pytest.mark.parametrize("camera", RIG, ids=lambda camera: camera.channel)
def test_each_camera_fires_when_the_lidar_passes_its_axis(camera: RigCamera) -> None:
    assert camera.fires_s * 1e3 == pytest.approx(PUBLISHED_MS[camera.channel], abs=0.3)


def test_the_pattern_is_that_of_nuscenes(firings: list[Firing]) -> None:
    for first in range(3):
        steps_ms = 50 * np.diff(triggered_turns(401, first))
        assert set(steps_ms.tolist()) == {50, 100} and (steps_ms[:-3] == steps_ms[3:]).all()
        assert steps_ms.mean() == pytest.approx(250 / 3, abs=0.3)
    begun = Counter(np.diff(firing.turns(0))[0] for firing in firings)
    assert begun[1] > 50 and begun[2] > 100, "scenes begin at any step of the pattern"
    assert all(firing.taken_TN.any(axis=1).sum() <= 241 for firing in firings)


def test_frames_are_missing_as_often_as_in_nuscenes(firings: list[Firing]) -> None:
    """0.7 % of CAM_FRONT's frames of the val split; of all cameras at once or of one alone."""
    taken = sum(firing.taken_TN.sum(axis=0) for firing in firings)
    assert np.all(np.abs(1 - taken / (300 * 241) - 0.006) < 0.0015)
    of_one = sum(int((firing.taken_TN.any(axis=1) & ~firing.taken_TN.all(axis=1)).sum()) for firing in firings)
    assert 300 < of_one < 600
    steps = np.concatenate([np.diff(firing.turns(0)) * 0.05 for firing in firings])
    assert {3, 4} <= set(np.round(steps / 0.05).astype(int).tolist()), "gaps of 150 and of 200 ms"
    assert np.array_equal(is_gap(steps, 12), steps > 0.125) and 0.003 < is_gap(steps, 12).mean() < 0.01


def test_key_frames_lie_3_to_8_frames_apart_mostly_6(firings: list[Firing]) -> None:
    """Real ones: 5, 6, 7 in 11.7, 82.1, 5.6 % of 5,869 cases, 3, 4 and 8 in the rest."""
    apart: Counter[int] = Counter()
    for firing in firings:
        assert firing.samples_S[0] == 0 and firing.taken_TN[firing.samples_S].all()
        apart.update(np.diff(np.searchsorted(firing.turns(0), firing.samples_S)).tolist())
    share = {frames: number / apart.total() for frames, number in apart.items()}
    assert {4, 5, 6, 7, 8} <= set(share) <= set(range(2, 11))
    assert share[6] == pytest.approx(0.82, abs=0.025)
    assert share[5] == pytest.approx(0.117, abs=0.035) and share[7] == pytest.approx(0.056, abs=0.025)


def test_firing_follows_from_seed_split_and_index() -> None:
    same, again = scene_firing(0, "val", 1, 8.0), scene_firing(0, "val", 1, 8.0)
    assert np.array_equal(same.taken_TN, again.taken_TN) and np.array_equal(same.jitter_S, again.jitter_S)
    for other in (scene_firing(1, "val", 1, 8.0), scene_firing(0, "train", 1, 8.0), scene_firing(0, "val", 2, 8.0)):
        assert not np.array_equal(same.taken_TN, other.taken_TN)


def test_a_longer_scene_begins_as_a_shorter_one() -> None:
    for index in range(20):
        short, long = scene_firing(0, "val", index, 5.0), scene_firing(0, "val", index, 8.0)
        assert np.array_equal(short.taken_TN, long.taken_TN[:101])
        assert np.array_equal(short.samples_S[:-1], long.samples_S[: len(short.samples_S) - 1])


@dataclass
class Written:
    """A scene of 8 s that lacks a frame of every camera and one of one camera, as rows of the tables."""

    firing: Firing
    script: SceneScript
    rows: Rows

    def frames(self, channel: str) -> list[dict]:
        """Rows of `sample_data` of one camera, in the order of its chain."""
        of = {row["token"]: row for row in self.rows["sample_data"] if f"/{channel}/" in row["filename"]}
        chain = [row for row in of.values() if not row["prev"]]
        while chain[-1]["next"]:
            chain.append(of[chain[-1]["next"]])
        assert len(chain) == len(of), "one chain, over gaps as well"
        return chain


@pytest.fixture(scope="module")
def written() -> Written:
    script, firing = scene_script(0, "train", 0, "toy-0000", 8.5), scene_firing(0, "train", 0, 8.0)
    number_T = firing.taken_TN.sum(axis=1)
    assert number_T.sum() < 6 * 97 - 6 and set(number_T.tolist()) == {0, 5, 6}
    return Written(firing, script, SceneTables(script, firing, 0, 0, (32, 18)).rows())


def test_tables_show_the_steps_and_the_missing_frames(written: Written) -> None:
    steps_ms = {}
    for camera in RIG:
        times_us = np.array([row["timestamp"] for row in written.frames(camera.channel)])
        steps_ms[camera.channel] = np.diff(times_us) / 1000
        of_50 = np.isin(steps_ms[camera.channel], [50, 100])
        assert {150.0, 200.0} >= set(steps_ms[camera.channel][~of_50].tolist()) and 1 <= (~of_50).sum() <= 2
        assert of_50.mean() > 0.95 and nominal_rate(np.diff(times_us) * 1e-6) == 12.0
    assert len({len(steps) for steps in steps_ms.values()}) == 2, "one camera has a frame less than the others"


def test_key_frames_are_of_their_samples_turn(written: Written) -> None:
    samples = {row["token"]: row["timestamp"] for row in written.rows["sample"]}
    stamps = np.array(sorted(samples.values()))
    assert np.abs(np.diff(stamps) / 5e5 - 1).max() > 0.09 and len(set(np.diff(stamps) % 50_000)) > 5, "not even either"
    for camera in RIG:
        keys = [row for row in written.frames(camera.channel) if row["is_key_frame"]]
        assert [samples[row["sample_token"]] for row in keys] == sorted(samples.values())
        late_s = (np.array([row["timestamp"] for row in keys]) - stamps) * 1e-6
        assert np.abs(late_s - camera.fires_s).max() < 0.0011
        assert all(row["filename"].startswith("samples/") for row in keys)


def test_sweeps_belong_to_the_sample_behind_them(written: Written) -> None:
    stamps = {row["token"]: row["timestamp"] for row in written.rows["sample"]}
    for row in written.rows["sample_data"]:
        later = [token for token, stamp in stamps.items() if stamp > row["timestamp"] - 2000]
        assert row["sample_token"] == min(later, key=stamps.__getitem__, default=max(stamps, key=stamps.__getitem__))


def test_poses_are_the_vehicles_at_the_moment_of_capture(written: Written) -> None:
    start_us = written.rows["sample"][0]["timestamp"] - 0.1e6
    poses = {row["token"]: row for row in written.rows["ego_pose"]}
    for row in written.rows["sample_data"][::7]:
        x, y, _ = written.script.ego.at((row["timestamp"] - start_us) * 1e-6)
        assert np.hypot(*np.subtract(poses[row["ego_pose_token"]]["translation"][:2], [x, y])) < 0.02
