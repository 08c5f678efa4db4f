"""What the device can do: a bf16 matrix product of 8192^3, a copy of 4 GB, and what it calls itself."""

import time

from PIL import features
from stage import Lines, Settings, begin, torch

from worldmodel.measure.flops import product_rate
from worldmodel.measure.machine import device_name, versions
from worldmodel.measure.timing import synchronize

COPY_BYTES = 4_000_000_000


def work(lines: Lines, settings: Settings) -> None:
    """Name, product, copy."""
    device = settings.device
    memory = torch.cuda.mem_get_info(device)[1] / 1e9 if device.type == "cuda" else 0.0
    avif = features.check("avif")
    lines.write("device", name=device_name(device), memory_gb=round(memory, 1), versions=versions(), avif=avif)
    side = 256 if settings.small else 8192
    with lines.guard("product"):
        rate = product_rate((side, side, side), device, torch.bfloat16, 0.1 if settings.small else 2.0)
        lines.write("product", side=side, tflop_per_s=round(rate / 1e12, 6))
    with lines.guard("copy"):
        size = COPY_BYTES // 1000 if settings.small else COPY_BYTES
        lines.write("copy", bytes=size, gb_per_s=round(copy_rate(size, device) / 1e9, 1))


def copy_rate(size: int, device: torch.device) -> float:
    """Bytes read and written a second of a copy on the device; the best of five."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target, best = torch.empty_like(source), 0.0
    for _ in range(6):
        synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        best = max(best, 2 * size / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    begin(work)
