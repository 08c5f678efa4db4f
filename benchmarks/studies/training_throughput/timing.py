"""Seconds, memory, and the largest batch that fits."""

import gc
import time
from collections.abc import Callable
from statistics import median

import torch

from worldmodel.benchmarks.studies.training_throughput.steps import Step
from worldmodel.measure.memory import peak_bytes
from worldmodel.measure.timing import synchronize

MOST = {"cuda": 4096, "cpu": 4}  # batch; a CPU would swap rather than say that memory ran out


def fits(make: Callable[[int], Step], batch: int, device: torch.device) -> bool:
    """Whether two steps run in the memory there is (the first makes AdamW's averages)."""
    torch.compiler.reset()  # else the second size would be compiled for any size, and run slower
    try:
        step = make(batch)
        for _ in range(2):
            step()
        synchronize(device)
        enough = True
    except torch.OutOfMemoryError:
        enough = False
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return enough


def largest_batch(fit: Callable[[int], bool], start: int, most: int) -> int:
    """Double from `start` while it fits, at most to `most`; 0 where `start` itself does not fit."""
    batch = 0
    while start <= most and fit(start):
        batch, start = start, 2 * start
    return batch


def timed(step: Step, seconds: float, device: torch.device, warm_up: int = 3) -> dict[str, float]:
    """Median seconds a step, steps taken, and the peak of memory in units of 10^9 bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(warm_up):
        step()
    synchronize(device)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < until:
        began = time.perf_counter()
        step()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return {"step_s": median(taken), "steps": len(taken), "peak_gb": peak_bytes(device) / 1e9}
