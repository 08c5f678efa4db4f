"""What a figure was made with: the checkpoint's hash, versions, the machine's device, memory and seconds."""

import hashlib
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from worldmodel.version import __version__

PACKAGES = ("torch", "diffusers", "numpy", "av", "pillow", "torchmetrics", "rerun-sdk")


def folder_hash(folder: str | Path) -> str:
    """sha256 over the names and contents of all files below `folder`, hidden ones left out."""
    digest, folder = hashlib.sha256(), Path(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            content = hashlib.sha256()
            with path.open("rb") as opened:
                while block := opened.read(1 << 20):
                    content.update(block)
            digest.update(f"{name}\0{content.hexdigest()}\n".encode())
    return digest.hexdigest()


def weights_hash(module: torch.nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python, this package and what the numbers depend on."""
    found = {"python": platform.python_version(), "worldmodel": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Most memory that this process has held so far, in MB of 10^6 bytes: `host`, and `gpu` as torch allocated it."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux
    peaks = {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if device.type == "cuda":
        peaks["gpu"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return peaks


class Stopwatch:
    """Wall seconds by name: `with watch("read"): ...`"""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)
