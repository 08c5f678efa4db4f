"""The most memory that something took, on a GPU as torch allocated it, on a CPU as the process held it.

MB is 10^6 bytes throughout.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from worldmodel.errors import InputError
from worldmodel.host import RESET_PEAK, status_mb


@dataclass
class Peak:
    """`peak_mb` in all, and `above_mb` beyond what was held when the block began: above the weights."""

    peak_mb: float = 0.0
    above_mb: float = 0.0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure a block; the answer is in the object once the block has ended.

    Raises:
        InputError: a CPU whose system does not tell a process its peak (only Linux does).
    """
    found = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / 1e6
        yield found
        torch.cuda.synchronize(device)
        found.peak_mb = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        before = _settled_mb()
        yield found
        found.peak_mb = _told_mb("VmHWM")
    found.above_mb = found.peak_mb - before


def _settled_mb() -> float:
    """What the process holds once freed memory went back to the system; its peak starts anew from there."""
    if not RESET_PEAK.exists():
        raise InputError("suite=memory on a CPU needs Linux (/proc/self/clear_refs); use a GPU")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET_PEAK.write_text("5")
    return _told_mb("VmRSS")


def _told_mb(name: str) -> float:
    found = status_mb(name)
    assert found is not None, f"no {name} on a system that has {RESET_PEAK}"
    return found
