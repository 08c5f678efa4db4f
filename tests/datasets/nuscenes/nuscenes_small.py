"""A small dataset in nuScenes' format: all 13 tables, small JPEGs, three cameras fired as the real rig's, a lidar
without files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from worldmodel.datasets.nuscenes import NuScenesIndex, open_index
from worldmodel.datasets.nuscenes.tables import TABLES

CAMERAS = ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_BACK")
VERSION = "v1.0-small"
SIZE = (64, 96)
SOURCE = (180, 320)
START_US, KEY_US = 1_500_000_000_000_000, 500_000
TURN_US = 50_000
# When in the lidar's turn a camera fires (measured on mini_val against CAM_FRONT), and its turns from frame to frame.
FIRED = {
    "CAM_FRONT": (0, (2, 2, 1)),
    "CAM_FRONT_LEFT": (-7_600, (2, 2, 1)),
    "CAM_BACK": (25_100, (2, 1, 2)),
    "LIDAR_TOP": (35_000, (2, 2, 1)),
}


def token(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def write_dataset(
    root: Path,
    scenes: tuple[str, ...] = ("scene-0061", "scene-0103"),
    frames: int = 40,
    jitter_us: int = 300,
    lost: float = 0.0,
) -> Path:
    """Write `frames` sweeps per camera and scene, 50, 100, 100 ms apart; every sixth is a keyframe.

    `lost` is the part of the sweeps between keyframes that is missing, drawn anew for each camera.
    """
    rng = np.random.default_rng(0)
    tables: dict[str, list[dict]] = {name: [] for name in _TABLES}
    tables["log"] = [
        {"token": token("log"), "logfile": "n1", "vehicle": "n1", "date_captured": "2018-07-18", "location": "here"}
    ]
    tables["map"] = [
        {"token": token("map"), "log_tokens": [token("log")], "category": "semantic_prior", "filename": "maps/m.png"}
    ]
    tables["visibility"] = [{"token": str(level), "level": f"v{level}", "description": ""} for level in range(1, 5)]
    tables["category"] = [{"token": token("category"), "name": "vehicle.car", "description": ""}]
    tables["attribute"] = [{"token": token("attribute"), "name": "vehicle.moving", "description": ""}]
    for channel in (*CAMERAS, "LIDAR_TOP"):
        modality = "camera" if channel.startswith("CAM") else "lidar"
        tables["sensor"].append({"token": token("sensor", channel), "channel": channel, "modality": modality})
    for scene in scenes:
        _add_scene(root, tables, scene, frames, jitter_us, lost, rng)
    (root / VERSION).mkdir(parents=True)
    (root / "maps").mkdir()
    Image.new("L", (8, 8)).save(root / "maps" / "m.png")
    for name, records in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(records, indent=0))
    return root


_TABLES = (
    "category attribute visibility instance sensor calibrated_sensor ego_pose log scene sample sample_data"
    " sample_annotation map"
).split()


def _add_scene(
    root: Path, tables: dict, scene: str, frames: int, jitter_us: int, lost: float, rng: np.random.Generator
) -> None:
    keys = [token(scene, "sample", number) for number in range(0, frames, 6)]
    tables["scene"].append(
        {
            "token": token(scene),
            "name": scene,
            "description": "a drive, with Zürich's {brackets}, {",
            "log_token": token("log"),
            "nbr_samples": len(keys),
            "first_sample_token": keys[0],
            "last_sample_token": keys[-1],
        }
    )
    for number, key in enumerate(keys):
        tables["sample"].append(
            {
                "token": key,
                "timestamp": START_US + number * KEY_US,
                "scene_token": token(scene),
                "prev": keys[number - 1] if number else "",
                "next": keys[number + 1] if number + 1 < len(keys) else "",
            }
        )
    for place, channel in enumerate((*CAMERAS, "LIDAR_TOP")):
        camera = channel.startswith("CAM")
        tables["calibrated_sensor"].append(
            {
                "token": token(scene, "calibrated", channel),
                "sensor_token": token("sensor", channel),
                "translation": [1.7, 0.1 * place, 1.5],
                "rotation": _quaternion(rng),
                "camera_intrinsic": [[253.0, 0.0, 163.0], [0.0, 253.0, 98.0], [0.0, 0.0, 1.0]] if camera else [],
            }
        )
        phase_us, turns = FIRED[channel]
        fired = np.cumsum([0, *(turns[number % 3] for number in range(frames - 1))])
        times = START_US + phase_us + TURN_US * fired + rng.integers(-jitter_us, jitter_us + 1, frames)
        kept = [n for n in range(frames) if n % 6 == 0 or not lost or rng.random() >= lost]
        _add_chain(root, tables, scene, channel, {n: int(times[n]) for n in kept}, keys, rng)


def _add_chain(root: Path, tables: dict, scene: str, channel: str, times: dict[int, int], keys: list[str], rng) -> None:
    """Sweeps by number, those that were lost left out."""
    camera, numbers = channel.startswith("CAM"), list(times)
    for place, (number, time) in enumerate(times.items()):
        key = number % 6 == 0
        folder = f"{'samples' if key else 'sweeps'}/{channel}"
        name = f"{folder}/{scene}__{channel}__{time}.{'jpg' if camera else 'pcd.bin'}"
        tables["ego_pose"].append(
            {
                "token": token(scene, channel, number),
                "timestamp": time,
                "rotation": _quaternion(rng),
                "translation": [float(number), 0.5, 0.0],
            }
        )
        tables["sample_data"].append(
            {
                "token": token(scene, channel, number),
                "sample_token": keys[min(round(number / 6), len(keys) - 1)],
                "ego_pose_token": token(scene, channel, number),
                "calibrated_sensor_token": token(scene, "calibrated", channel),
                "timestamp": time,
                "fileformat": "jpg" if camera else "pcd",
                "is_key_frame": key,
                "height": SOURCE[0] if camera else 0,
                "width": SOURCE[1] if camera else 0,
                "filename": name,
                "prev": token(scene, channel, numbers[place - 1]) if place else "",
                "next": token(scene, channel, numbers[place + 1]) if place + 1 < len(numbers) else "",
            }
        )
        if camera:
            _draw(root / name, CAMERAS.index(channel), number)


def _quaternion(rng: np.random.Generator) -> list[float]:
    q = rng.normal(size=4)
    return (q / np.linalg.norm(q)).tolist()


def _draw(path: Path, camera: int, number: int) -> None:
    """Red says the camera, green the frame's number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SOURCE[::-1], (60 * camera + 20, 5 * number + 10, 128)).save(path, quality=95)


def edit_table(root: Path, name: str, change: Callable[[list[dict]], object]) -> None:
    """Let `change` alter the records of one table in place."""
    path = root / VERSION / f"{name}.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def assert_equals_devkit(root: Path, version: str) -> None:
    """Every row and column of our index against `NuScenes`."""
    from nuscenes import NuScenes

    devkit, index = NuScenes(version, str(root), verbose=False), open_index(root, version)
    for name, table in TABLES.items():
        records = getattr(devkit, name)
        assert index.rows(name) == len(records), name
        for column in table.record.__struct_fields__:
            for row, record in enumerate(records):
                assert _value(index, name, column, row) == _expected(record[column], column), (name, column, row)
    for row, record in enumerate(devkit.sample_data):  # the devkit joins the channel in
        sensor = index.column("sample_data", "sensor")[row]
        assert index.text("sensor", "channel", sensor) == record["channel"]


def _value(index: NuScenesIndex, table: str, column: str, row: int) -> object:
    if column == "token":
        return index.token(table, row)
    if column in TABLES[table].references:
        target = int(index.column(table, column)[row])
        return index.token(TABLES[table].references[column], target) if target >= 0 else ""
    if column in ("translation", "rotation", "camera_intrinsic"):
        vector = index.column(table, column)[row]
        return [] if np.isnan(vector).any() else vector.tolist()
    if column in ("timestamp", "is_key_frame", "height", "width", "nbr_samples"):
        return index.column(table, column)[row]
    return index.text(table, column, row)


def _expected(value: object, column: str) -> object:
    return [number for line in value for number in line] if column == "camera_intrinsic" else value
