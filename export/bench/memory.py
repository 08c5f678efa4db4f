"""How much memory this process holds and held, as Linux tells it; MB of 10^6 bytes."""

import gc
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held_mb() -> float | None:
    """Now; None where the system is not Linux."""
    return _status_mb("VmRSS")


def peak_mb() -> float | None:
    """The most since the process began, or since `restart_peak`."""
    return _status_mb("VmHWM")


def restart_peak() -> None:
    """Let the peak begin anew with what is held now; where that is forbidden, nothing happens."""
    gc.collect()
    try:
        RESET.write_text("5")
    except OSError:
        pass


def torch_gpu_mb() -> float | None:
    """The most that torch has allocated on the GPU; None where it has not used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


def _status_mb(name: str) -> float | None:
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return round(int(found[0]) * 1024 / 1e6, 1) if found else None
