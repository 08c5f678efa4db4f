"""nuScenes-like tables of the full val split: 150 scenes, 6,019 key frames, cameras that drop frames; no pictures.

As in the real ones, the lidar's turn fires each camera at its own moment, 50, 100 and 100 ms apart, now and then one or
several frames are missing, the key frame of a camera is the one of its sample's turn, and sweeps lie before the first
and behind the last key frame. Records are shuffled, scene tokens do not sort as scene names do.
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from worldmodel.datasets.nuscenes import official_splits
from worldmodel.datasets.timing import LIDAR_TURN_S, STEP_TURNS

VERSION = "v1.0-trainval"
MOMENT_S = {"CAM_FRONT": -0.035, "CAM_BACK": -0.010, "CAM_FRONT_LEFT": -0.043}  # after the lidar's stamp
LOST = {"CAM_FRONT": 0.0003, "CAM_BACK": 0.002, "CAM_FRONT_LEFT": 0.001}  # share of frames that are missing
START_US = 1_530_000_000_000_000
CAMERA_TURN, LIDAR_TURN = [0.4998, -0.5030, 0.4997, -0.4974], [0.7077955119, -0.0064920, 0.0106461, -0.7063073]
K = [[1266.417, 0.0, 816.267], [0.0, 1266.417, 491.507], [0.0, 0.0, 1.0]]
MOUNTED = {"CAM": [1.70, 0.016, 1.511], "LID": [0.9437, 0.0, 1.8402]}

Tables = dict[str, list[dict]]


def token(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def write_val_tables(root: Path, scenes: int = 150) -> Tables:
    """Write the tables; returns them as they were written."""
    rng = np.random.default_rng(4)
    tables: Tables = {name: [] for name in ("scene", "sample", "calibrated_sensor", "ego_pose", "sample_data")}
    tables["log"] = [
        {"token": token("log"), "logfile": "n", "vehicle": "n", "date_captured": "2018-07-18", "location": "here"}
    ]
    tables["sensor"] = [
        {"token": token(name), "channel": name, "modality": "camera" if name.startswith("CAM") else "lidar"}
        for name in (*MOMENT_S, "LIDAR_TOP")
    ]
    for number, name in enumerate(official_splits()["val"][:scenes]):
        _add_scene(tables, name, number, 41 if number % 8 == 0 else 40, rng)  # 131 x 40 + 19 x 41 = 6,019
    for records in tables.values():
        order = rng.permutation(len(records))
        records[:] = [records[place] for place in order]
    (root / VERSION).mkdir(parents=True)
    for name, records in tables.items():
        (root / VERSION / f"{name}.json").write_bytes(msgspec.json.encode(records))
    return tables


def _add_scene(tables: Tables, scene: str, number: int, keys: int, rng: np.random.Generator) -> None:
    begin_us = START_US + number * 100_000_000
    samples = [token(scene, "sample", k) for k in range(keys)]
    sample_us = begin_us + 500_000 * np.arange(keys)
    tables["scene"].append(
        {
            "token": token(scene),
            "name": scene,
            "description": "",
            "log_token": token("log"),
            "nbr_samples": keys,
            "first_sample_token": samples[0],
            "last_sample_token": samples[-1],
        }
    )
    for k, own in enumerate(samples):
        around = {"prev": samples[k - 1] if k else "", "next": samples[k + 1] if k + 1 < keys else ""}
        tables["sample"].append({"token": own, "timestamp": int(sample_us[k]), "scene_token": token(scene)} | around)
    speed, turning = rng.uniform(0, 14), rng.choice([0.0, 0.0, 0.12, -0.12])
    for channel in (*MOMENT_S, "LIDAR_TOP"):
        camera = channel.startswith("CAM")
        tables["calibrated_sensor"].append(
            {
                "token": token(scene, channel, "calibrated"),
                "sensor_token": token(channel),
                "translation": MOUNTED[channel[:3]],
                "rotation": CAMERA_TURN if camera else LIDAR_TURN,
                "camera_intrinsic": K if camera else [],
            }
        )
        times_us = _fired(channel, sample_us, rng) if camera else sample_us
        late_us = 1e6 * MOMENT_S.get(channel, 0.0)
        nearest = {int(np.abs(times_us - late_us - time).argmin()): k for k, time in enumerate(sample_us)}
        of_sample = np.searchsorted(sample_us, times_us).clip(max=keys - 1)
        _add_chain(tables, scene, channel, times_us, nearest, [samples[k] for k in of_sample], samples)
        _add_poses(tables, scene, channel, times_us, (times_us - begin_us) * 1e-6, speed, turning)


def _fired(channel: str, sample_us: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    before, behind = rng.integers(0, 6, 2)
    places = np.arange(-before, 6 * (len(sample_us) - 1) + behind + 1)  # the pattern has three frames, samples six
    turns = places // 3 * sum(STEP_TURNS) + np.cumsum([0, *STEP_TURNS[:-1]])[places % 3]
    times = sample_us[0] + (turns * LIDAR_TURN_S + MOMENT_S[channel]) * 1e6 + rng.integers(-1000, 1001, len(turns))
    lost = rng.random(len(places)) < LOST[channel]
    if rng.random() < 0.02:  # a longer hole
        hole = rng.integers(0, len(places))
        lost[hole : hole + rng.integers(2, 30)] = True
        lost &= places % 6 != 0  # every sample keeps a key frame of its own
    lost[[0, -1]] = False
    return times[~lost].round().astype(np.int64)


def _add_chain(
    tables: Tables,
    scene: str,
    channel: str,
    times_us: np.ndarray,
    key_of: dict[int, int],
    of_sample: list[str],
    samples: list[str],
) -> None:
    own = [token(scene, channel, place) for place in range(len(times_us))]
    calibrated = token(scene, channel, "calibrated")
    for place, time in enumerate(times_us.tolist()):
        key = place in key_of
        tables["sample_data"].append(
            {
                "token": own[place],
                "sample_token": samples[key_of[place]] if key else of_sample[place],
                "ego_pose_token": own[place],
                "calibrated_sensor_token": calibrated,
                "timestamp": time,
                "fileformat": "jpg",
                "is_key_frame": key,
                "height": 900,
                "width": 1600,
                "filename": f"{'samples' if key else 'sweeps'}/{channel}/{scene}__{channel}__{time}.jpg",
                "prev": own[place - 1] if place else "",
                "next": own[place + 1] if place + 1 < len(times_us) else "",
            }
        )


def _add_poses(
    tables: Tables, scene: str, channel: str, times_us: np.ndarray, seconds: np.ndarray, speed: float, turning: float
) -> None:
    yaw = 0.7 + turning * seconds
    if turning:
        x, y = speed / turning * (np.sin(yaw) - np.sin(0.7)), speed / turning * (np.cos(0.7) - np.cos(yaw))
    else:
        x, y = speed * seconds * np.cos(0.7), speed * seconds * np.sin(0.7)
    turns = zip(np.cos(yaw / 2).tolist(), np.sin(yaw / 2).tolist(), strict=True)
    moves = zip((500 + x).tolist(), (900 + y).tolist(), strict=True)
    for place, ((w, z), moved) in enumerate(zip(turns, moves, strict=True)):
        tables["ego_pose"].append(
            {
                "token": token(scene, channel, place),
                "timestamp": int(times_us[place]),
                "rotation": [w, 0.0, 0.0, z],
                "translation": [*moved, 0.0],
            }
        )
