"""nuScenes tables of any size for measurements: right in form and in all references, made up in content.

At 850 scenes they have the size of v1.0-trainval: 2.63 M sample_data and ego_pose, 1.17 M annotations, 34,149 samples.
Cameras fire as the real ones do, 50, 100, 100 ms apart, each at its own phase; cameras and the lidar lack some frames.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from worldmodel.datasets.timing import LIDAR_TURN_S
from worldmodel.datasets.toyworld.firing import triggered_turns
from worldmodel.datasets.toyworld.rig import RIG
from worldmodel.measure.report import Record

VERSION = "v1.0-trainval"
FIRES_S = {camera.channel: camera.fires_s for camera in RIG}
CAMERAS = list(FIRES_S)
RADARS = [f"RADAR_{side}" for side in ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")]
FRAMES = {"CAM": 228, "LIDAR": 394, "RADAR": 267}  # of a scene, the missing ones not counted; 3,097 x 850 = 2.63 M
TURNS, RADAR_STEP_S = 401, 0.075  # of the lidar in a scene of 20 s
SAMPLES, ANNOTATIONS, INSTANCES = 34_149, 1_166_187, 64_386  # of all 850 scenes
START_US, SCENE_US, SAMPLE_US = 1_530_000_000_000_000, 30_000_000, 500_000

# Written as text: building 2.63 M dictionaries would take the generator's memory to that of the devkit.
SWEEP = """{
"token": "%s",
"sample_token": "%s",
"ego_pose_token": "%s",
"calibrated_sensor_token": "%s",
"timestamp": %d,
"fileformat": "%s",
"is_key_frame": %s,
"height": %d,
"width": %d,
"filename": "%s/%s/n015-2018-07-18-11-07-57+0800__%s__%d.%s",
"prev": "%s",
"next": "%s"
}"""
POSE = """{
"token": "%s",
"timestamp": %d,
"rotation": [
0.57%d,
-0.0016%d,
0.011%d,
-0.81%d
],
"translation": [
411.3039%d,
1180.890%d,
0.0
]
}"""
ANNOTATION = """{
"token": "%s",
"sample_token": "%s",
"instance_token": "%s",
"visibility_token": "%d",
"attribute_tokens": [
"%s"
],
"translation": [
373.%d,
1130.%d,
0.8
],
"size": [
0.621,
0.669,
1.642
],
"rotation": [
0.9831098797903927,
0.0,
0.0,
-0.1830129836
],
"prev": "%s",
"next": "%s",
"num_lidar_pts": %d,
"num_radar_pts": %d
}"""


def write_tables(root: Path, scenes: int) -> dict[str, int]:
    """Write all 13 tables for `scenes` scenes; returns the number of records of each."""
    folder = root / VERSION
    folder.mkdir(parents=True)
    (root / "maps").mkdir()
    (root / "maps" / "m.png").write_bytes(b"")
    rng = np.random.default_rng(0)
    share = scenes / 850
    channels = [*CAMERAS, "LIDAR_TOP", *RADARS]
    tokens = {
        "scene": _tokens(rng, scenes),
        "sample": _tokens(rng, max(round(SAMPLES * share), scenes)),
        "sensor": _tokens(rng, len(channels)),
        "calibrated_sensor": _tokens(rng, scenes * len(channels)),
        "instance": _tokens(rng, max(round(INSTANCES * share), 1)),
        "annotation": _tokens(rng, max(round(ANNOTATIONS * share), 1)),
        "log": _tokens(rng, 68),
        "fixed": _tokens(rng, 40),
    }
    counts = _write_fixed(folder, tokens) | _write_rig(folder, tokens, channels) | _write_scenes(folder, tokens)
    return counts | _write_annotations(folder, tokens) | _write_sweeps(folder, tokens, channels, rng)


def _tokens(rng: np.random.Generator, number: int) -> list[str]:
    digits = rng.bytes(16 * number).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def _write(folder: Path, name: str, records: list[Record]) -> dict[str, int]:
    (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    return {name: len(records)}


def _write_fixed(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    fixed, logs = tokens["fixed"], tokens["log"]
    log = {"vehicle": "n015", "date_captured": "2018-07-18", "location": "singapore-onenorth"}
    maps = {"token": fixed[36], "log_tokens": logs, "category": "semantic_prior", "filename": "maps/m.png"}
    tables: dict[str, list[Record]] = {
        "log": [{"token": token, "logfile": f"n015-{i}"} | log for i, token in enumerate(logs)],
        "map": [maps],
        "visibility": [{"token": str(level), "level": f"v{level}", "description": ""} for level in range(1, 5)],
        "category": [{"token": token, "name": f"category.{token[:4]}", "description": ""} for token in fixed[:23]],
        "attribute": [{"token": token, "name": f"attribute.{token[:4]}", "description": ""} for token in fixed[23:31]],
    }
    return {name: _write(folder, name, records)[name] for name, records in tables.items()}


def _write_rig(folder: Path, tokens: dict[str, list[str]], channels: list[str]) -> dict[str, int]:
    kinds = {"CAM": "camera", "LIDAR": "lidar", "RADAR": "radar"}
    pairs = zip(tokens["sensor"], channels, strict=True)
    sensors = [{"token": token, "channel": name, "modality": kinds[name.partition("_")[0]]} for token, name in pairs]
    place = {"translation": [1.7, 0.02, 1.5], "rotation": [0.4998, -0.5030, 0.4997, -0.4974]}
    intrinsic = [[1266.417203046554, 0.0, 816.2670197447984], [0.0, 1266.417203046554, 491.5070657929475], [0, 0, 1]]
    records = [
        {"token": token, "sensor_token": tokens["sensor"][i % len(channels)]}
        | place
        | {"camera_intrinsic": intrinsic if i % len(channels) < len(CAMERAS) else []}
        for i, token in enumerate(tokens["calibrated_sensor"])
    ]
    return _write(folder, "sensor", sensors) | _write(folder, "calibrated_sensor", records)


def _bounds(tokens: dict[str, list[str]]) -> list[int]:
    """Places of each scene's first sample, and the number of samples."""
    return np.linspace(0, len(tokens["sample"]), len(tokens["scene"]) + 1).astype(int).tolist()


def _write_scenes(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    logs, samples, scenes = tokens["log"], tokens["sample"], tokens["scene"]
    bounds = _bounds(tokens)
    scene_records, sample_records = [], []
    for number, (token, first, end) in enumerate(zip(scenes, bounds[:-1], bounds[1:], strict=True)):
        scene_records.append(
            {
                "token": token,
                "log_token": logs[number % len(logs)],
                "nbr_samples": end - first,
                "first_sample_token": samples[first],
                "last_sample_token": samples[end - 1],
                "name": f"scene-{number + 1:04d}",
                "description": "Parked truck, construction, intersection, turn left, following a van",
            }
        )
        for i in range(first, end):
            sample_records.append(
                {
                    "token": samples[i],
                    "timestamp": START_US + SCENE_US * number + SAMPLE_US * (i - first),
                    "prev": samples[i - 1] if i > first else "",
                    "next": samples[i + 1] if i + 1 < end else "",
                    "scene_token": token,
                }
            )
    return _write(folder, "scene", scene_records) | _write(folder, "sample", sample_records)


def _write_annotations(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    own, instances, samples, fixed = tokens["annotation"], tokens["instance"], tokens["sample"], tokens["fixed"]
    length = -(-len(own) // len(instances))  # annotations of one instance
    ends = [*range(length - 1, len(own), length), len(own) - 1]
    lasts = set(ends)

    def record(i: int) -> str:
        before, after = "" if i % length == 0 else own[i - 1], "" if i in lasts else own[i + 1]
        seen = (own[i], samples[i % len(samples)], instances[i // length], i % 4 + 1, fixed[23 + i % 8])
        return ANNOTATION % (*seen, i, i, before, after, i % 90, i % 3)

    _write_text(folder, "sample_annotation", map(record, range(len(own))))
    records = [
        {
            "token": instances[i],
            "category_token": fixed[i % 23],
            "nbr_annotations": min(length, len(own) - i * length),
            "first_annotation_token": own[i * length],
            "last_annotation_token": own[ends[i]],
        }
        for i in range(-(-len(own) // length))
    ]
    return {"sample_annotation": len(own)} | _write(folder, "instance", records)


def _write_text(folder: Path, name: str, records: Iterable[str]) -> None:
    with (folder / f"{name}.json").open("w") as file:
        file.write("[\n")
        for number, record in enumerate(records):
            file.write(f",\n{record}" if number else record)
        file.write("\n]")


def _write_sweeps(
    folder: Path, tokens: dict[str, list[str]], channels: list[str], rng: np.random.Generator
) -> dict[str, int]:
    """`sample_data` and `ego_pose`, both in the same shuffled order."""
    samples, calibrated, bounds = tokens["sample"], tokens["calibrated_sensor"], _bounds(tokens)
    parts = [
        _frames(channel, first, end, START_US + number * SCENE_US, rng)
        for number, (first, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True))
        for channel in channels
    ]
    chains = [number for number, (stamps, _, _) in enumerate(parts) for _ in stamps]
    stamps, sample_of, keys = (np.concatenate(column).tolist() for column in zip(*parts, strict=True))
    own, order = _tokens(rng, len(chains)), rng.permutation(len(chains)).tolist()

    def sweep(row: int) -> str:
        channel = channels[chains[row] % len(channels)]
        form, high, wide = ("jpg", 900, 1600) if channel.startswith("CAM") else ("pcd", 0, 0)
        links = (own[row], samples[sample_of[row]], own[row], calibrated[chains[row]], stamps[row])
        name = ("samples" if keys[row] else "sweeps", channel, channel, stamps[row], form)
        before, after = (near if chains[near : near + 1] == [chains[row]] else None for near in (row - 1, row + 1))
        around = ("" if before is None else own[before], "" if after is None else own[after])
        return SWEEP % (*links, form, "true" if keys[row] else "false", high, wide, *name, *around)

    _write_text(folder, "sample_data", map(sweep, order))
    _write_text(folder, "ego_pose", (POSE % (own[row], stamps[row], *[row] * 6) for row in order))
    return {"sample_data": len(order), "ego_pose": len(order)}


def _frames(
    channel: str, first: int, end: int, begin_us: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamp, sample (`first` to `end` - 1) and whether it is a key frame, of each frame of one sensor in one scene."""
    kind = channel.partition("_")[0]
    if kind == "RADAR":
        times_s = RADAR_STEP_S * np.arange(FRAMES[kind])
    else:
        times_s = LIDAR_TURN_S * (triggered_turns(TURNS) if kind == "CAM" else np.arange(TURNS))
    samples_s = SAMPLE_US * 1e-6 * np.arange(end - first)
    key = np.zeros(len(times_s), dtype=bool)
    key[np.abs(times_s - samples_s[:, None]).argmin(axis=1)] = True
    lost = rng.permutation(np.flatnonzero(~key))[: len(times_s) - FRAMES[kind]]
    kept = np.setdiff1d(np.arange(len(times_s)), lost)
    sample = first + np.searchsorted(samples_s, times_s - RADAR_STEP_S / 2).clip(max=end - first - 1)
    late_s = FIRES_S.get(channel, 0.0) + rng.uniform(-0.001, 0.001, len(kept))
    return begin_us + np.round((times_s[kept] + late_s) * 1e6).astype(int), sample[kept], key[kept]
