"""Which kernels of the device a call spends its time in, as lines."""

import time
from collections.abc import Callable
from typing import Any

import torch
from lines import Lines
from torch.profiler import ProfilerActivity, profile

MOST = 12
LONGEST_NAME = 110


def write_kernels(lines: Lines, of: str, call: Callable[[], Any], device: torch.device) -> None:
    """The `MOST` kernels of one call that take longest, and how much of the time the device was busy.

    On a CPU operators take the place of kernels.
    """
    cuda = device.type == "cuda"
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    call()
    wait()
    began = time.perf_counter()
    call()
    wait()
    wall_ms = 1e3 * (time.perf_counter() - began)
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiled:
        call()
        wait()
    kind = "self_device_time_total" if cuda else "self_cpu_time_total"
    found = [(getattr(event, kind, 0) / 1e3, event.count, event.key) for event in profiled.key_averages()]
    found = sorted((one for one in found if one[0] > 0), reverse=True)
    busy_ms = sum(ms for ms, _, _ in found)
    lines.write(
        "kernels", of=of, wall_ms=round(wall_ms, 3), busy_ms=round(busy_ms, 3), kinds=len(found),
        calls=sum(count for _, count, _ in found), busy=round(busy_ms / wall_ms, 3),
    )  # fmt: skip
    for ms, count, name in found[:MOST]:
        share = round(ms / busy_ms, 4)
        lines.write("kernel", of=of, name=name[:LONGEST_NAME], ms=round(ms, 4), calls=count, share=share)
