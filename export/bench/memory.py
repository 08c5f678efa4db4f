"""How much memory this process holds and held, as Linux tells it; MB of 10^6 bytes."""

import gc
import sys

from worldmodel.measure.machine import RESET_PEAK, status_mb


def held_mb() -> float | None:
    """Now; None where the system is not Linux."""
    return _rounded(status_mb("VmRSS"))


def peak_mb() -> float | None:
    """The most since the process began, or since `restart_peak`."""
    return _rounded(status_mb("VmHWM"))


def restart_peak() -> None:
    """Let the peak begin anew with what is held now; where that is forbidden, nothing happens."""
    gc.collect()
    try:
        RESET_PEAK.write_text("5")
    except OSError:
        pass


def torch_gpu_mb() -> float | None:
    """The most that torch has allocated on the GPU; None where it has not used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


def _rounded(megabytes: float | None) -> float | None:
    return None if megabytes is None else round(megabytes, 1)
