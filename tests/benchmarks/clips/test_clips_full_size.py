"""The nuScenes lists on tables of full val size, against a slow reading of the raw records clip by clip."""

import math
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from val_tables import CAMERA_TURN, LIDAR_TURN, MOUNTED, K, Tables, write_val_tables

from worldmodel.benchmarks.clips import ClipList, ClipsConfig, clip_list, read_clip_list, write_clip_list

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tables]:
    root = tmp_path_factory.mktemp("full") / "val"
    return root, write_val_tables(root)


@pytest.fixture(scope="module")
def records(full: tuple[Path, Tables]) -> "Records":
    return Records(full[1])


@pytest.fixture(scope="module")
def vista(full: tuple[Path, Tables]) -> ClipList:
    return clip_list(ClipsConfig(list="vista-val", root=str(full[0])))


@pytest.fixture(scope="module")
def flowframes(full: tuple[Path, Tables]) -> ClipList:
    return clip_list(ClipsConfig(list="flowframes-val", root=str(full[0])))


class Records:
    """The tables as a person would read them: dictionaries by token, as the devkit keeps them."""

    def __init__(self, tables: Tables) -> None:
        self.of = {name: {record["token"]: record for record in records} for name, records in tables.items()}
        channel_of = {own: self.of["sensor"][record["sensor_token"]]["channel"] for own, record in self._calibrated()}
        self.key_data: dict[str, dict[str, dict]] = defaultdict(dict)  # sample token -> channel -> sample_data
        self.heads: dict[tuple[str, str], dict] = {}  # (scene name, channel) -> first frame
        for data in tables["sample_data"]:
            channel = channel_of[data["calibrated_sensor_token"]]
            if data["is_key_frame"]:
                self.key_data[data["sample_token"]][channel] = data
            if not data["prev"]:
                self.heads[self.scene_of(data)["name"], channel] = data

    def _calibrated(self) -> list[tuple[str, dict]]:
        return list(self.of["calibrated_sensor"].items())

    def scene_of(self, data: dict) -> dict:
        return self.of["scene"][self.of["sample"][data["sample_token"]]["scene_token"]]

    def chain(self, data: dict, length: int | None = None) -> list[dict]:
        """A frame and those behind it, at most `length`."""
        frames = [data]
        while frames[-1]["next"] and (length is None or len(frames) < length):
            frames.append(self.of["sample_data"][frames[-1]["next"]])
        return frames


def slow_vista(records: Records) -> list[list[dict]]:
    samples = sorted(records.of["sample"].values(), key=lambda sample: (sample["scene_token"], sample["timestamp"]))
    clips = []
    for sample in samples:
        frames = records.chain(records.key_data[sample["token"]]["CAM_FRONT"], 25)
        if len(frames) == 25:
            clips.append(frames)
    return clips


def test_the_tables_are_of_full_size(full: tuple[Path, Tables]) -> None:
    tables = full[1]
    cameras = [data for data in tables["sample_data"] if "LIDAR" not in data["filename"]]
    assert len(tables["scene"]) == 150 and len(tables["sample"]) == 6019 and len(cameras) > 100_000
    assert sum(data["is_key_frame"] for data in cameras) == 3 * 6019


def test_vista_val_agrees_clip_by_clip(vista: ClipList, records: Records) -> None:
    slow = slow_vista(records)
    assert len(vista) == len(slow) > 5000 and vista.expected == 5369 and vista.frames == 25
    for clip, frames in zip(vista.clips, slow, strict=True):
        (view,) = clip.views
        assert view.frames == tuple(data["filename"] for data in frames)
        assert view.timestamps_us == tuple(data["timestamp"] for data in frames)
        assert view.start_token == frames[0]["token"] and view.camera == "CAM_FRONT"
        assert clip.scene == records.scene_of(frames[0])["name"]


def test_vista_val_counts_what_it_left_out(vista: ClipList) -> None:
    assert vista.notes == (f"6019 key frames: {6019 - len(vista)} have fewer than 24 frames behind them",)


def slow_flowframes(records: Records, camera: str) -> dict[str, list[dict]]:
    """Of one camera, by the names that the published code gives its chunks."""
    chunks: dict[str, list[dict]] = {}
    for scene in records.of["scene"].values():  # in the table's order
        frames = records.chain(records.key_data[scene["first_sample_token"]][camera])
        sweeps = [frame for frame in frames if not frame["is_key_frame"]]
        for number in range(len(sweeps) // 34):
            chunks[f"{scene['token']}_chunk_{number}"] = sweeps[34 * number : 34 * (number + 1)]
    return chunks


def test_flowframes_val_agrees_clip_by_clip(flowframes: ClipList, records: Records) -> None:
    cameras = ("CAM_FRONT", "CAM_BACK", "CAM_FRONT_LEFT")
    every = {(camera, key): clip for camera in cameras for key, clip in slow_flowframes(records, camera).items()}
    random.seed(4543543)
    kept = random.sample(list(every), 2000)
    assert len(flowframes) == 2000 == flowframes.expected
    for clip, place in zip(flowframes.clips, kept, strict=True):
        frames = every[place]
        assert clip.lead.camera == place[0] and clip.scene == records.scene_of(frames[0])["name"]
        assert clip.lead.frames == tuple(frame["filename"] for frame in frames)
        assert clip.lead.timestamps_us == tuple(frame["timestamp"] for frame in frames)
        assert clip.actions is None, "a clip of sweeps begins at no key frame"


def test_actions_agree_with_plain_quaternions(vista: ClipList, records: Records) -> None:
    for clip in vista.clips[::40]:
        assert clip.actions is not None
        data = records.of["sample_data"][clip.lead.start_token]
        samples = [records.of["sample"][data["sample_token"]]]
        while len(samples) < 5:
            samples.append(records.of["sample"][samples[-1]["next"]])
        lidars = [global_point(records, records.key_data[sample["token"]]["LIDAR_TOP"]) for sample in samples]
        lidar = records.key_data[samples[0]["token"]]["LIDAR_TOP"]
        seen = [seen_from(records, lidar, point, LIDAR_TURN, MOUNTED["LID"]) for point in lidars]
        expected = [value for x, y, _ in seen for value in (-x, y)]
        assert np.allclose(clip.actions.traj, expected, rtol=0, atol=2e-6)
        left, ahead = expected[-2:]
        assert clip.actions.cmd == (1 if left >= 2 else 0 if left <= -2 else 2 if ahead <= 2 else 3)
        x, y, z = seen_from(records, data, lidars[-1], CAMERA_TURN, MOUNTED["CAM"])
        assert clip.actions.z == pytest.approx(z, abs=2e-6)
        u, v = K[0][0] * x / z + K[0][2], K[1][1] * y / z + K[1][2]
        assert clip.actions.goal == pytest.approx((u, v), rel=1e-6, abs=1e-3)


def test_commands_of_all_kinds_occur(vista: ClipList) -> None:
    assert {clip.actions.cmd for clip in vista.clips if clip.actions} == {0, 1, 2, 3}


def rotate(q: list[float], v: list[float]) -> list[float]:
    """v turned by the quaternion (w, x, y, z): v + 2 w (u x v) + 2 u x (u x v)."""
    length = math.sqrt(sum(part * part for part in q))
    w, u = q[0] / length, [part / length for part in q[1:]]
    once = cross(u, v)
    twice = cross(u, once)
    return [v[i] + 2 * w * once[i] + 2 * twice[i] for i in range(3)]


def cross(a: list[float], b: list[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def global_point(records: Records, lidar: dict) -> list[float]:
    pose = records.of["ego_pose"][lidar["ego_pose_token"]]
    turned = rotate(pose["rotation"], MOUNTED["LID"])
    return [turned[i] + pose["translation"][i] for i in range(3)]


def seen_from(records: Records, data: dict, point: list[float], turn: list[float], place: list[float]) -> list[float]:
    pose = records.of["ego_pose"][data["ego_pose_token"]]
    for rotation, translation in ((pose["rotation"], pose["translation"]), (turn, place)):
        back = [rotation[0], *(-part for part in rotation[1:])]
        point = rotate(back, [point[i] - translation[i] for i in range(3)])
    return point


def test_written_and_read_back(vista: ClipList, tmp_path: Path) -> None:
    write_clip_list(vista, tmp_path / "vista.json")
    assert read_clip_list(tmp_path / "vista.json") == vista
