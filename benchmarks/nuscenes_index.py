"""Our index against the official devkit on tables of trainval size, each step in a process of its own.

    python -m worldmodel.benchmarks.nuscenes_index [--scenes 850] [--keep]

Writes nuScenes tables of the real one's size (850 scenes: 2.63 M sample_data and ego_pose, 1.17 M annotations; about 3.5 GB) into
a temporary folder, in shuffled order, and measures `NuScenes(...)`, building the index, opening it again, and all camera chains
with poses. CPU-seconds are user + system time, memory is resident memory added by the step (its imports not counted).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.benchmarks import machine

VERSION = "v1.0-trainval"
CAMERAS = [f"CAM_{side}" for side in ("FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT", "FRONT_LEFT")]
RADARS = [f"RADAR_{side}" for side in ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")]
FRAMES = {"CAM": 228, "LIDAR": 394, "RADAR": 267}  # sweeps per scene: 12, 20 and 13 Hz for 20 s; 3,097 x 850 = 2.63 M
SAMPLES, ANNOTATIONS, INSTANCES = 34_149, 1_166_187, 64_386  # of all 850 scenes
REPEATS = 7


# --- tables ---------------------------------------------------------------------------------------------------------
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
    counts = _write_small(folder, tokens, channels)
    counts |= _write_annotations(folder, tokens)
    return counts | _write_sweeps(folder, tokens, channels, rng)


def _tokens(rng: np.random.Generator, number: int) -> list[str]:
    digits = rng.bytes(16 * number).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def _write(folder: Path, name: str, records: list[dict[str, Any]]) -> dict[str, int]:
    (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    return {name: len(records)}


def _write_small(folder: Path, tokens: dict[str, list[str]], channels: list[str]) -> dict[str, int]:
    fixed, logs, samples, scenes = tokens["fixed"], tokens["log"], tokens["sample"], tokens["scene"]
    log = {"vehicle": "n015", "date_captured": "2018-07-18", "location": "singapore-onenorth"}
    bounds = np.linspace(0, len(samples), len(scenes) + 1).astype(int)
    scene_of = np.repeat(np.arange(len(scenes)), np.diff(bounds))
    starts, ends = set(bounds[:-1].tolist()), set((bounds[1:] - 1).tolist())
    counts = _write(folder, "log", [{"token": t, "logfile": f"n015-{i}"} | log for i, t in enumerate(logs)])
    maps = {"token": fixed[36], "log_tokens": logs, "category": "semantic_prior", "filename": "maps/m.png"}
    counts |= _write(folder, "map", [maps])
    counts |= _write(
        folder, "visibility", [{"token": str(i), "level": f"v{i}", "description": ""} for i in range(1, 5)]
    )
    counts |= _write(
        folder, "category", [{"token": t, "name": f"category.{t[:4]}", "description": ""} for t in fixed[:23]]
    )
    named = [{"token": t, "name": f"attribute.{t[:4]}", "description": ""} for t in fixed[23:31]]
    counts |= _write(folder, "attribute", named)
    kinds = {"CAM": "camera", "LIDAR": "lidar", "RADAR": "radar"}
    pairs = zip(tokens["sensor"], channels, strict=True)
    sensors = [{"token": t, "channel": c, "modality": kinds[c.partition("_")[0]]} for t, c in pairs]
    counts |= _write(folder, "sensor", sensors)
    calibration = {"translation": [1.7, 0.02, 1.5], "rotation": [0.4998, -0.5030, 0.4997, -0.4974]}
    intrinsic = [[1266.417203046554, 0.0, 816.2670197447984], [0.0, 1266.417203046554, 491.5070657929475], [0, 0, 1]]
    records = [
        {"token": t, "sensor_token": tokens["sensor"][i % len(channels)]}
        | calibration
        | {"camera_intrinsic": intrinsic if i % len(channels) < len(CAMERAS) else []}
        for i, t in enumerate(tokens["calibrated_sensor"])
    ]
    counts |= _write(folder, "calibrated_sensor", records)
    records = [
        {
            "token": token,
            "log_token": logs[i % len(logs)],
            "nbr_samples": int(bounds[i + 1] - bounds[i]),
            "first_sample_token": samples[bounds[i]],
            "last_sample_token": samples[bounds[i + 1] - 1],
            "name": f"scene-{i + 1:04d}",
            "description": "Parked truck, construction, intersection, turn left, following a van",
        }
        for i, token in enumerate(scenes)
    ]
    counts |= _write(folder, "scene", records)
    records = [
        {
            "token": token,
            "timestamp": 1_530_000_000_000_000 + 500_000 * i,
            "prev": "" if i in starts else samples[i - 1],
            "next": "" if i in ends else samples[i + 1],
            "scene_token": scenes[scene_of[i]],
        }
        for i, token in enumerate(samples)
    ]
    return counts | _write(folder, "sample", records)


def _write_annotations(folder: Path, tokens: dict[str, list[str]]) -> dict[str, int]:
    own, instances, samples, fixed = tokens["annotation"], tokens["instance"], tokens["sample"], tokens["fixed"]
    length = -(-len(own) // len(instances))
    with (folder / "sample_annotation.json").open("w") as file:
        for i, token in enumerate(own):
            inside = i % length
            before, after = own[i - 1] if inside else "", own[i + 1] if inside + 1 < length and i + 1 < len(own) else ""
            file.write(
                f'{"," if i else "["}\n{{\n"token": "{token}",\n"sample_token": "{samples[i % len(samples)]}",\n'
                f'"instance_token": "{instances[i // length]}",\n"visibility_token": "{i % 4 + 1}",\n'
                f'"attribute_tokens": [\n"{fixed[23 + i % 8]}"\n],\n"translation": [\n373.{i},\n1130.{i},\n0.8\n],\n'
                f'"size": [\n0.621,\n0.669,\n1.642\n],\n"rotation": [\n0.9831098797903927,\n0.0,\n0.0,\n-0.1830129836\n],\n'
                f'"prev": "{before}",\n"next": "{after}",\n"num_lidar_pts": {i % 90},\n"num_radar_pts": {i % 3}\n}}'
            )
        file.write("\n]")
    used = -(-len(own) // length)
    records = [
        {
            "token": instances[i],
            "category_token": fixed[i % 23],
            "nbr_annotations": length,
            "first_annotation_token": own[i * length],
            "last_annotation_token": own[min((i + 1) * length, len(own)) - 1],
        }
        for i in range(used)
    ]
    return {"sample_annotation": len(own)} | _write(folder, "instance", records)


def _write_sweeps(
    folder: Path, tokens: dict[str, list[str]], channels: list[str], rng: np.random.Generator
) -> dict[str, int]:
    """`sample_data` and `ego_pose` in shuffled order; row r is frame `place[r]` of one channel in one scene."""
    scenes, samples = len(tokens["scene"]), tokens["sample"]
    frames = np.array([FRAMES[channel.partition("_")[0]] for channel in channels])
    length = np.tile(frames, scenes)
    chain = np.repeat(np.arange(len(length)), length)
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    own = _tokens(rng, len(chain))
    bounds = np.linspace(0, len(samples), scenes + 1)
    sample = (bounds[chain // len(channels)] + place / length[chain] * (len(samples) / scenes)).astype(int)
    stamp = 1_530_000_000_000_000 + 500_000 * len(samples) // scenes * (chain // len(channels))
    stamp = stamp + (place * 20e6 / length[chain]).astype(int) + rng.integers(-2000, 2000, len(chain))
    rows = zip(
        *(a.tolist() for a in (chain, place, length[chain], sample.clip(0, len(samples) - 1), stamp)), strict=True
    )
    rows = list(rows)
    order = rng.permutation(len(rows)).tolist()
    with (folder / "sample_data.json").open("w") as data, (folder / "ego_pose.json").open("w") as pose:
        for number, row in enumerate(order):
            chain_, place_, length_, sample_, stamp_ = rows[row]
            channel, comma = channels[chain_ % len(channels)], "," if number else "["
            camera, key = channel.startswith("CAM"), place_ % 6 == 0
            data.write(
                f'{comma}\n{{\n"token": "{own[row]}",\n"sample_token": "{samples[sample_]}",\n'
                f'"ego_pose_token": "{own[row]}",\n"calibrated_sensor_token": "{tokens["calibrated_sensor"][chain_]}",\n'
                f'"timestamp": {stamp_},\n"fileformat": "{"jpg" if camera else "pcd"}",\n'
                f'"is_key_frame": {"true" if key else "false"},\n"height": {900 if camera else 0},\n'
                f'"width": {1600 if camera else 0},\n"filename": "{"samples" if key else "sweeps"}/{channel}/'
                f'n015-2018-07-18-11-07-57+0800__{channel}__{stamp_}.{"jpg" if camera else "pcd"}",\n'
                f'"prev": "{own[row - 1] if place_ else ""}",\n"next": "{own[row + 1] if place_ + 1 < length_ else ""}"\n}}'
            )
            pose.write(
                f'{comma}\n{{\n"token": "{own[row]}",\n"timestamp": {stamp_},\n"rotation": [\n0.57{row},\n'
                f'-0.0016{number},\n0.011{row},\n-0.81{number}\n],\n"translation": [\n411.3039{row},\n1180.890{number},\n0.0\n]\n}}'
            )
        data.write("\n]")
        pose.write("\n]")
    return {"sample_data": len(rows), "ego_pose": len(rows)}


# --- steps, each in a fresh process -----------------------------------------------------------------------------------
def _devkit(root: Path) -> Callable[[], Any]:
    from nuscenes import NuScenes
    from nuscenes.utils import map_mask  # noqa: F401  (imported by the constructor)

    return lambda: NuScenes(VERSION, str(root), verbose=False)


def _open(root: Path) -> Callable[[], Any]:
    from worldmodel.datasets.nuscenes import open_index

    return lambda: open_index(root, VERSION)


def _chains(root: Path) -> Callable[[], Any]:
    from worldmodel.datasets.nuscenes import open_index
    from worldmodel.datasets.nuscenes.chains import camera_chains
    from worldmodel.datasets.nuscenes.geometry import ego_poses

    def run() -> Any:
        index = open_index(root, VERSION)
        chains = camera_chains(index, tuple(CAMERAS))
        return index, chains, ego_poses(index, chains.rows_S)

    return run


STEPS = {"devkit": _devkit, "build": _open, "reopen": _open, "chains": _chains}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(step: str, root: Path) -> dict[str, float]:
    """Run one step in this process and weigh it."""
    run = STEPS[step](root)
    before, cpu, wall = _resident(), time.process_time(), time.perf_counter()
    kept = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = len(kept[1].rows_S) if step == "chains" else len(getattr(kept, "sample_data", kept))
    result = {"cpu_s": cpu, "wall_s": wall, "added_mb": (_resident() - before) / 1e6, "rows": rows}
    return result | {"peak_added_mb": (peak - before) / 1e6, "peak_mb": peak / 1e6}


def _in_fresh_process(step: str, root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "worldmodel.benchmarks.nuscenes_index", "--step", step, "--root", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


# --- the comparison -------------------------------------------------------------------------------------------------
def compare(root: Path, counts: dict[str, int], keep: bool) -> None:
    """Measure all steps side by side, print the table and the JSON line."""
    about = machine.describe(("nuscenes-devkit", "numpy", "pyarrow", "msgspec"))
    steps: dict[str, dict[str, float]] = {}
    steps["devkit"] = _in_fresh_process("devkit", root)
    steps["build"] = _in_fresh_process("build", root)
    for step in ("reopen", "chains"):
        steps[step] = _median([_in_fresh_process(step, root) for _ in range(REPEATS)])
    folder = next((root / VERSION / ".worldmodel-index").iterdir())
    disk = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    devkit, reopen = steps["devkit"], steps["reopen"]
    ratios = {
        "reopen_faster_cpu": devkit["cpu_s"] / reopen["cpu_s"],
        "reopen_faster_wall": devkit["wall_s"] / reopen["wall_s"],
        "reopen_less_memory": devkit["added_mb"] / reopen["added_mb"],
        "build_cpu_of_devkit": steps["build"]["cpu_s"] / devkit["cpu_s"],
        "build_peak_of_devkit": steps["build"]["peak_mb"] / devkit["peak_mb"],
    }
    result = {"benchmark": "nuscenes_index", "counts": counts, "index_mb": disk, "steps": steps, "ratios": ratios}
    machine.publish("nuscenes_index", _text(counts, disk, steps, ratios), result | {"machine": about}, keep)


NAMES = {
    "devkit": "devkit `NuScenes(...)`",
    "build": "index, built (once)",
    "reopen": f"index, opened again (median of {REPEATS} processes)",
    "chains": f"opened + 6 camera chains + poses as 4 x 4 (median of {REPEATS})",
}


def _text(counts: dict[str, int], disk: float, steps: dict[str, dict[str, float]], ratios: dict[str, float]) -> str:
    rows = [
        {
            "step": NAMES[step],
            "CPU-s ↓": f"{run['cpu_s']:.4g}",
            "wall s ↓": f"{run['wall_s']:.4g}",
            "memory added, MB ↓": f"{run['added_mb']:.1f}",
            "peak of the process, MB ↓": f"{run['peak_mb']:.0f}",
        }
        for step, run in steps.items()
    ]
    sizes = ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items(), key=lambda item: -item[1])[:5])
    return f"""# nuScenes index against the official devkit

Generated tables ({sizes}), rows shuffled; each step in a fresh process, files in the page cache, imports not counted.
Memory is resident memory, mapped pages that were touched included. The index takes {disk:.0f} MB on disk.

{machine.table(rows)}

Opening again is {ratios["reopen_faster_cpu"]:,.0f} x faster in CPU time ({ratios["reopen_faster_wall"]:,.0f} x in wall time) than
`NuScenes(...)` and adds 1/{ratios["reopen_less_memory"]:,.0f} of its memory; building costs {ratios["build_cpu_of_devkit"]:.2f} of one
devkit load in CPU time and {ratios["build_peak_of_devkit"]:.2f} of its peak memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=850, help="850 is trainval's size")
    parser.add_argument("--keep", action="store_true", help="write the table and JSON to benchmarks/results by date")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(measure(chosen.step, chosen.root)))
        return
    with tempfile.TemporaryDirectory(prefix="nuscenes-tables-") as folder:
        compare(Path(folder), write_tables(Path(folder), chosen.scenes), chosen.keep)


if __name__ == "__main__":
    main()
