"""A borrowed GPU for some minutes becomes figures: stages in order of worth, each in a process of its own.

    python runs/gpu/evidence.py --out OUT [--budget 480] [--stages memory-ltx,training] [--device cuda] [--small]

`OUT/lines.jsonl` gets a line as each figure is there; whatever ends the run, what is written stays. A stage that no
longer fits into the budget is left out, and a line says so. While one stage is measured the next one's process starts
and imports what it needs, so that no second of the GPU is spent on imports.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lines import Lines
from plan import Stage, chosen

HERE = Path(__file__).resolve().parent
MARGIN_S = 5.0  # kept free at the end
ENOUGH = 0.5  # of what a stage is expected to take: its first figures are worth having alone
SMALL_PATIENCE = 10  # a CPU with other work takes longer than a GPU does for the real sizes


class Child:
    """The process of one stage: it imports, and begins when it is told to."""

    def __init__(self, stage: Stage, arguments: argparse.Namespace) -> None:
        self.stage = stage
        words = [sys.executable, str(HERE / "stages" / f"{stage.module}.py"), "--name", stage.name]
        words += ["--rows", stage.rows, "--lines", str(arguments.out / "lines.jsonl"), "--device", arguments.device]
        words += ["--small"] * arguments.small + ["--no-compile"] * (not arguments.compile)
        self._log = (arguments.out / "stages.log").open("a")
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stderr=self._log, start_new_session=True, env=environment(stage)
        )

    def run(self, limit_s: float) -> str:
        """Let it begin; how it ended, in words."""
        began = time.perf_counter()
        try:
            self._process.communicate(f"{limit_s:.1f}\n".encode(), timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.end()
            return f"cut after {time.perf_counter() - began:.0f} s"
        code = self._process.returncode
        return "finished" if code == 0 else f"ended with code {code}; stages.log says why"

    def end(self) -> None:
        """With all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def environment(stage: Stage) -> dict[str, str]:
    """Of a stage: no network is asked; where memory is filled, it is not cut into pieces that leave no room."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
    fills = stage.module in ("memory", "training")
    return os.environ | said | ({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"} if fills else {})


def run(arguments: argparse.Namespace) -> None:
    """All stages that fit."""
    began, stages = time.perf_counter(), chosen(arguments.stages)
    lines = Lines(arguments.out / "lines.jsonl", "plan")
    for stage in stages:
        lines.write(stage.name, expected_s=round(stage.seconds), limit_s=stage.limit_s, proves=stage.proves)
    ahead: list[Child] = []
    try:
        for number, stage in enumerate(stages):
            left = arguments.budget - (time.perf_counter() - began) - MARGIN_S
            if left < ENOUGH * stage.seconds and not arguments.small:
                lines.write(stage.name, skipped=f"expected {stage.seconds:.0f} s, {left:.0f} s are left")
                continue
            child = next((one for one in ahead if one.stage is stage), None) or Child(stage, arguments)
            for other in ahead:
                if other is not child:
                    other.end()
            ahead = [child] + [Child(after, arguments) for after in stages[number + 1 : number + 2]]
            begun = time.perf_counter()
            how = child.run(min(left, stage.limit_s * (SMALL_PATIENCE if arguments.small else 1)))
            lines.write(stage.name, how=how, wall_s=round(time.perf_counter() - begun, 1))
    finally:
        for child in ahead:
            child.end()
    lines.write("done", wall_s=round(time.perf_counter() - began, 1))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of lines.jsonl")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds for all stages")
    parser.add_argument("--stages", default="", help="names with commas between; all unless said")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="tiny networks, every stage, for a test on a CPU")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run(arguments)


if __name__ == "__main__":
    main()
