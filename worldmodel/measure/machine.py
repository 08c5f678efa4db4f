"""What the system says about this machine and this process; standard library only, no torch."""

import os
import platform
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")
"""Writing 5 lets the peak of memory begin anew, on Linux."""


def processor_name() -> str:
    """The board's name where there is one (Jetson), else the processor's."""
    board, information = Path("/proc/device-tree/model"), Path("/proc/cpuinfo")
    if board.is_file():
        return board.read_text().strip("\0\n ")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def status_mb(name: str) -> float | None:
    """Memory in MB of 10^6 bytes, VmRSS (held now) or VmHWM (the most); None where the system is not Linux."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 / 1e6 if found else None
