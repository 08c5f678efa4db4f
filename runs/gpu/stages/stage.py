"""What every stage has in common: its arguments, its lines, and that it waits until it is told to begin."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from lines import Lines

from worldmodel.termination import end_with_parent


@dataclass(frozen=True)
class Settings:
    """Of one stage.

    Attributes:
        rows: what it is to do. device: where. small: tiny networks, for a test. compile: whether torch.compile is
            measured. until: when its time is over, on `time.perf_counter`.
    """

    rows: tuple[str, ...]
    device: torch.device
    small: bool
    compile: bool
    until: float

    @property
    def left_s(self) -> float:
        """Seconds that the stage still has."""
        return self.until - time.perf_counter()

    def compiles(self, seconds: float) -> bool:
        """Whether something may be compiled, for which so many seconds are kept."""
        return self.compile and (self.small or self.left_s > seconds)

    @property
    def dtype(self) -> str:
        """Of the weights; a CPU is slow in half precision."""
        return "bfloat16" if self.device.type == "cuda" else "float32"


def begin(work: Callable[[Lines, Settings], None], compiles: bool = False) -> None:
    """Wait for the sign, then work. Imports are done by now, those of torch.compile too where a stage `compiles`.

    The process ends with the one that started it.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--rows", default="")
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    arguments = parser.parse_args()
    end_with_parent()
    if compiles and arguments.compile and not arguments.small:
        import_module("torch._inductor.compile_fx")
    limit = sys.stdin.readline().strip()
    if not limit:
        return  # it is not needed
    rows = tuple(row for row in arguments.rows.split(",") if row)
    until = time.perf_counter() + float(limit)
    lines = Lines(arguments.lines, arguments.name)
    settings = Settings(rows, torch.device(arguments.device), arguments.small, arguments.compile, until)
    with lines.guard("stage"):
        work(lines, settings)
