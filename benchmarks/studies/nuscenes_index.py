"""Our index against the official devkit on tables of trainval size, each step in a process of its own.

    python -m worldmodel.benchmarks.studies.nuscenes_index [--scenes 850] [--keep]

Writes nuScenes tables of the real one's size (850 scenes: 2.63 M sample_data and ego_pose, 1.17 M annotations; about
3.5 GB) into a temporary folder, in shuffled order, and measures `NuScenes(...)`, building the index, opening it
again, and all camera chains with poses. CPU-seconds are user + system time, memory is resident memory added by the
step (its imports not counted).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldmodel.benchmarks.studies.nuscenes_tables import CAMERAS, VERSION, write_tables
from worldmodel.benchmarks.studies.results import publish
from worldmodel.errors import InputError
from worldmodel.measure import machine
from worldmodel.measure.memory import HELD, PEAK, host_mb
from worldmodel.measure.report import table_of

REPEATS = 7


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


def _mb(name: str) -> float:
    # Not getrusage's ru_maxrss: it begins with what the parent held when it started this process.
    megabytes = host_mb(name)
    if megabytes is None:
        raise InputError("memory of a process can be read on Linux only; measure there")
    return megabytes


def measure(step: str, root: Path) -> dict[str, float]:
    """Run one step in this process and weigh it."""
    run = STEPS[step](root)
    before, cpu, wall = _mb(HELD), time.process_time(), time.perf_counter()
    kept = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = _mb(PEAK)
    rows = len(kept[1].rows_S) if step == "chains" else len(getattr(kept, "sample_data", kept))
    result = {"cpu_s": cpu, "wall_s": wall, "added_mb": _mb(HELD) - before, "rows": rows}
    return result | {"peak_mb": peak}


def _in_fresh_process(step: str, root: Path) -> dict[str, float]:
    module = "worldmodel.benchmarks.studies.nuscenes_index"
    command = [sys.executable, "-m", module, "--step", step, "--root", str(root)]
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
    publish("nuscenes_index", _text(counts, disk, steps, ratios), result | {"machine": about}, keep)


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

{table_of(rows)}

Opening again against `NuScenes(...)`: {ratios["reopen_faster_cpu"]:,.0f} x faster in CPU time,
{ratios["reopen_faster_wall"]:,.0f} x in wall time, 1/{ratios["reopen_less_memory"]:,.0f} of the memory added.
Building against one devkit load: {ratios["build_cpu_of_devkit"]:.2f} of its CPU time,
{ratios["build_peak_of_devkit"]:.2f} of its peak memory."""


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
