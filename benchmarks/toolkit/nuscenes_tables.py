"""nuScenes tables of any size for measurements: right in form and in all references, made up in content.

At 850 scenes they have the size of v1.0-trainval: 2.63 M sample_data and ego_pose, 1.17 M annotations, 34,149 samples.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "v1.0-trainval"
CAMERAS = [f"CAM_{side}" for side in ("FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT", "FRONT_LEFT")]
RADARS = [f"RADAR_{side}" for side in ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")]
FRAMES = {"CAM": 228, "LIDAR": 394, "RADAR": 267}  # sweeps a scene: 12, 20, 13 Hz for 20 s; 3,097 x 850 = 2.63 M
SAMPLES, ANNOTATIONS, INSTANCES = 34_149, 1_166_187, 64_386  # of all 850 scenes
START_US, SCENE_US = 1_530_000_000_000_000, 20_000_000

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


def _write(folder: Path, name: str, records: list[dict[str, Any]]) -> dict[str, int]:
    (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    return {name: len(records)}


def _write_fixed(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    fixed, logs = tokens["fixed"], tokens["log"]
    log = {"vehicle": "n015", "date_captured": "2018-07-18", "location": "singapore-onenorth"}
    maps = {"token": fixed[36], "log_tokens": logs, "category": "semantic_prior", "filename": "maps/m.png"}
    tables: dict[str, list[dict[str, Any]]] = {
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


def _write_scenes(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    logs, samples, scenes = tokens["log"], tokens["sample"], tokens["scene"]
    bounds = np.linspace(0, len(samples), len(scenes) + 1).astype(int).tolist()
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
                    "timestamp": START_US + SCENE_US * len(scenes) * i // len(samples),
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
    scenes, samples, calibrated = len(tokens["scene"]), tokens["sample"], tokens["calibrated_sensor"]
    length_K = np.tile([FRAMES[channel.partition("_")[0]] for channel in channels], scenes)  # of the K chains
    chain = np.repeat(np.arange(len(length_K)), length_K)
    place = np.arange(len(chain)) - np.repeat(np.cumsum(length_K) - length_K, length_K)
    scene, part = chain // len(channels), place / length_K[chain]
    sample = ((scene + part) * (len(samples) / scenes)).astype(int).clip(0, len(samples) - 1)
    stamp = START_US + scene * SCENE_US + (part * SCENE_US).astype(int) + rng.integers(-2000, 2000, len(chain))
    own, order = _tokens(rng, len(chain)), rng.permutation(len(chain)).tolist()
    chains, places, sample_of, stamps = (column.tolist() for column in (chain, place, sample, stamp))
    lengths = length_K.tolist()

    def sweep(row: int) -> str:
        at, frame, time = chains[row], places[row], stamps[row]
        channel = channels[at % len(channels)]
        form, high, wide = ("jpg", 900, 1600) if channel.startswith("CAM") else ("pcd", 0, 0)
        key = frame % 6 == 0
        links = (own[row], samples[sample_of[row]], own[row], calibrated[at], time)
        name = ("samples" if key else "sweeps", channel, channel, time, form)
        around = (own[row - 1] if frame else "", own[row + 1] if frame + 1 < lengths[at] else "")
        return SWEEP % (*links, form, "true" if key else "false", high, wide, *name, *around)

    _write_text(folder, "sample_data", map(sweep, order))
    _write_text(folder, "ego_pose", (POSE % (own[row], stamps[row], *[row] * 6) for row in order))
    return {"sample_data": len(order), "ego_pose": len(order)}
