"""The most memory that something took, on a GPU as torch allocated it, on a CPU as the process held it.

MB is 10^6 bytes throughout.
"""

import ctypes
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from worldmodel.benchmarks.suites.stages import Call, wrapped_stages
from worldmodel.errors import InputError
from worldmodel.measure.machine import RESET_PEAK, status_mb

BETWEEN = "between"


def settled_mb(device: torch.device) -> float:
    """What is held once freed memory went back; the peak starts anew from there. `InputError` as `forget_peak`."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    elif RESET_PEAK.exists():
        ctypes.CDLL(None).malloc_trim(0)
    forget_peak(device)
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else _told_mb("VmRSS")


def forget_peak(device: torch.device) -> None:
    """Let the peak start anew from what is held now.

    Raises:
        InputError: a CPU whose system does not tell a process its peak (only Linux does).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif RESET_PEAK.exists():
        RESET_PEAK.write_text("5")
    else:
        raise InputError("suite=memory on a CPU needs Linux (/proc/self/clear_refs); use a GPU")


def peak_mb(device: torch.device) -> float:
    """The peak since it started anew."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / 1e6
    return _told_mb("VmHWM")


@contextmanager
def peaks_by_stage(networks: Mapping[str, torch.nn.Module], device: torch.device) -> Iterator[dict[str, float]]:
    """The peak within every stage of `stages.timed_stages`, and between them, in MB; the largest is the block's."""
    found: dict[str, float] = {}

    def note(stage: str) -> None:
        found[stage] = max(found.get(stage, 0.0), peak_mb(device))
        forget_peak(device)

    def wrap(call: Call, stage: str) -> Call:
        def noted(*given: Any, **named: Any) -> Any:
            note(BETWEEN)
            result = call(*given, **named)
            note(stage)
            return result

        return noted

    forget_peak(device)
    with wrapped_stages(networks, wrap):
        yield found
    note(BETWEEN)


def _told_mb(name: str) -> float:
    found = status_mb(name)
    assert found is not None, f"no {name} on a system that has {RESET_PEAK}"
    return found
