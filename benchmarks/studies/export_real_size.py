"""What it takes to export the published sizes and to build engines of them on a CPU, with random weights.

    python -m worldmodel.benchmarks.studies.export_real_size [--families ltx wan] [--precision fp16] [--target orin]
        [--folder FOLDER] [--keep]

For each family the two commands `worldmodel export` and `worldmodel export check`, each in a process of its own, and
what their last lines say. The check is ONNX's own in full at export, the rules of every TensorRT of the target, and
parsing and building by NVIDIA's TensorRT-RTX for the target's stand-in; those plans are measured and thrown away.
Needs the extras `export` and `trt-check`, 9 GB of memory (int8: 17 GB, for calibration by ONNX Runtime) and 11 GB of
disk below FOLDER for the time that it runs. Random weights are calibrated on a single draw of normal latents.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from worldmodel.benchmarks.studies.results import publish
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of

PACKAGES = ("torch", "diffusers", "onnx", "tensorrt-rtx-cu12-bindings")


def last_line(*words: str) -> Record:
    """The JSON that a verb ends with, and the wall seconds that it took; its other lines are printed."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "worldmodel.cli.main", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    text, _, line = done.stdout.strip().rpartition("\n")
    print(text, flush=True)
    return json.loads(line) | {"wall_s": round(time.perf_counter() - begun, 1)}


def measured(family: str, precision: str, target: str, folder: Path) -> Record:
    """Export and check one family of the published size below `folder`."""
    out = folder / f"{family}-{precision}"
    exported = last_line(
        *("export", "weights=random", f"family={family}", "sizes=real", f"precision={precision}"),
        *("self_test=false", f"out={out}"),
    )
    sizes = {path.name: path.stat().st_size / 1e6 for path in out.iterdir()}
    checked = last_line("export", "check", str(out), f"target={target}", "build=true")
    del exported["out"], checked["artifact"]  # where it lay tells nothing
    return {"family": family, "precision": precision, "exported": exported, "sizes_mb": sizes, "checked": checked}


def rows_of(family: Record) -> list[Record]:
    """One row a part."""
    exported, built = family["exported"], family["checked"]["tensorrt_rtx"]
    return [
        {
            "family": family["family"],
            "part": part,
            "export s ↓": f"{exported['seconds'][part]:.0f}",
            "ONNX MB ↓": f"{sum(size for name, size in family['sizes_mb'].items() if name.startswith(f'{part}.')):.0f}",
            "parse and build s ↓": f"{part_built['seconds']:.0f}",
            "its peak GB ↓": f"{part_built['peak_memory_mb'] / 1e3:.1f}",
            "plan MB ↓": f"{part_built['bytes'] / 1e6:.0f}",
        }
        for part, part_built in built.items()
    ]


def text_of(result: Record) -> str:
    """The table for people."""
    times = []
    for family in result["found"]:
        exported = family["exported"]
        times.append(
            f"{family['family']}: the whole export {exported['wall_s'] / 60:.1f} minutes with a peak of "
            f"{exported['peak_memory_mb']['host'] / 1e3:.1f} GB, {exported['megabytes'] / 1e3:.2f} GB of files; "
            f"checking and building {family['checked']['wall_s'] / 60:.1f} minutes."
        )
    return "\n\n".join(
        [
            "# Exporting the published sizes",
            f"Random weights, {result['precision']}, one camera, 17 frames of 256 x 384 (LTX-Video 2B) and 240 x 416 "
            "(Wan 2.1 1.3B), the empty prompt baked in. Built by TensorRT-RTX on the CPU for the stand-in of target="
            f"{result['target']}; no engine was run.",
            table_of([row for family in result["found"] for row in rows_of(family)]),
            *times,
        ]
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["ltx", "wan"], choices=["ltx", "wan"])
    parser.add_argument("--precision", default="fp16", choices=["fp16", "int8"])
    parser.add_argument("--target", default="orin", choices=["orin", "thor", "x86"])
    parser.add_argument("--folder", type=Path, help="where artifacts lie while they are measured")
    parser.add_argument("--keep", action="store_true", help="write the figures to results/")
    given = parser.parse_args()
    result = {"machine": machine.describe(PACKAGES), "precision": given.precision, "target": given.target, "found": []}
    for family in given.families:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            result["found"].append(measured(family, given.precision, given.target, Path(folder)))
    publish(f"export_real_size_{given.precision}", text_of(result), result, given.keep)


if __name__ == "__main__":
    main()
