"""What a figure was measured on: processor, cores, memory, load, versions, device. Only `device_name` needs torch."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.measure.report import Record
from worldmodel.version import __version__

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "diffusers", "numpy", "av", "pillow", "torchmetrics", "rerun-sdk")
"""What figures of this package depend on, by their distributions' names."""


def processor_name() -> str:
    """The board's name where there is one (Jetson), else the processor's."""
    board, information = Path("/proc/device-tree/model"), Path("/proc/cpuinfo")
    if board.is_file():
        return board.read_text().strip("\0\n ")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system() -> str:
    """The operating system and the processor's architecture, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def load_average(digits: int) -> list[float]:
    """Programs that ran at once in the last 1, 5 and 15 minutes; a figure had beside others is not to be trusted."""
    return [round(load, digits) for load in os.getloadavg()]


def versions(packages: Sequence[str] = ("worldmodel", *PACKAGES)) -> dict[str, str]:
    """Versions of Python and of distributions; `absent` for one that is not installed."""
    numbers = {"python": platform.python_version()}
    for package in packages:
        try:
            # A checkout that is only on the path, as on a borrowed GPU, is no installed distribution.
            numbers[package] = __version__ if package == "worldmodel" else version(package)
        except PackageNotFoundError:
            numbers[package] = "absent"
    return numbers


def device_name(device: "torch.device") -> str:
    """The GPU's name, or the processor with the number of threads in use."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def describe(packages: Sequence[str]) -> Record:
    """The record of a dated result: processor, cores, memory in GiB, system, load and versions of `packages`."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": system(),
        "load_average": load_average(1),
        "versions": versions(packages),
    }


def described(machine: Record) -> str:
    """`describe`'s record as a line for people."""
    numbers = ", ".join(f"{package} {number}" for package, number in machine["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    return f"Machine: {where}; load {machine['load_average'][0]} at the start. Versions: {numbers}."
