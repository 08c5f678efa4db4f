"""Memory: what this process holds and has held at most, as Linux tells it, or as torch allocated it on a GPU.

MB is 10^6 bytes throughout. torch is imported only where a device is asked about.
"""

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.errors import InputError
from worldmodel.measure.timing import Call, synchronize, wrapped_stages

if TYPE_CHECKING:
    import torch

STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")
"""Writing 5 lets the peak of memory begin anew, on Linux."""
HELD, PEAK = "VmRSS", "VmHWM"
BETWEEN = "between"


def host_mb(name: str) -> float | None:
    """`HELD` now or `PEAK` since the process began or the peak was restarted; None where the system is not Linux."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    kilobytes = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(kilobytes[0]) * 1024 / 1e6 if kilobytes else None


def restart_host_peak() -> bool:
    """Let the process' peak begin anew with what is held now; False where the system forbids or lacks that."""
    try:
        RESET_PEAK.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes(device: "torch.device") -> int:
    """The most that torch allocated on a GPU since the last reset; on a CPU, the whole process since it began."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_memory_mb(device: "torch.device") -> dict[str, float]:
    """Most memory that this process has held so far: `host`, and `gpu` as torch allocated it."""
    import torch

    peaks = {"host": round(peak_bytes(torch.device("cpu")) / 1e6, 1)}
    return peaks | ({"gpu": round(peak_bytes(device) / 1e6, 1)} if device.type == "cuda" else {})


def settled_mb(device: "torch.device") -> float:
    """What is held once freed memory went back; the peak starts anew from there. `InputError` as `forget_peak`."""
    gc.collect()
    if device.type == "cuda":
        import torch

        synchronize(device)
        torch.cuda.empty_cache()
    elif RESET_PEAK.exists():
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory for itself until it is asked to give it back
    forget_peak(device)
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else _known_mb(HELD)


def forget_peak(device: "torch.device") -> None:
    """Let the peak start anew from what is held now.

    Raises:
        InputError: a CPU whose system does not tell a process its peak (only Linux does).
    """
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    elif not restart_host_peak():
        raise InputError("suite=memory on a CPU needs Linux (/proc/self/clear_refs); use a GPU")


def peak_mb(device: "torch.device") -> float:
    """The peak since it started anew."""
    if device.type == "cuda":
        synchronize(device)
        return peak_bytes(device) / 1e6
    return _known_mb(PEAK)


@contextmanager
def peaks_by_stage(networks: "Mapping[str, torch.nn.Module]", device: "torch.device") -> Iterator[dict[str, float]]:
    """The peak within every stage of `timing.timed_stages`, and between them, in MB; the largest is the block's."""
    peaks: dict[str, float] = {}

    def note(stage: str) -> None:
        peaks[stage] = max(peaks.get(stage, 0.0), peak_mb(device))
        forget_peak(device)

    def wrap(call: Call, stage: str) -> Call:
        def noted(*args: Any, **kwargs: Any) -> Any:
            note(BETWEEN)
            result = call(*args, **kwargs)
            note(stage)
            return result

        return noted

    forget_peak(device)
    with wrapped_stages(networks, wrap):
        yield peaks
    note(BETWEEN)


def _known_mb(name: str) -> float:
    megabytes = host_mb(name)
    assert megabytes is not None, f"no {name} on a system that has {RESET_PEAK}"
    return megabytes
