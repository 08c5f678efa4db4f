"""Table 1: the peak of memory from frames to frames at the paper's five volumes, and the line through it.

Volume by volume over all rows, the ends first, so that every row has a line early. Peaks do not depend on how many
steps are taken, so few are; where a row has no such option, calls of its network beyond `MOST_CALLS` give back zeros.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stage import Lines, Settings, begin, torch

from worldmodel.benchmarks.methods.method import Method
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.suites import memory, volumes
from worldmodel.benchmarks.suites.config import CostConfig

ORDER = (0, 4, 2, 1, 3)
STEPS = {"flowframes": 3, "ltxv_condition": 3, "vista": 3}
MOST_CALLS = {"gem": 3}
SMALL_ORDER = (0, 1)
TWO_VOLUMES = ("self_forcing", "vista", "gem")
"""The ends only: CausVid's network run the same way, and rows whose peak hardly grows with the volume."""


def work(lines: Lines, settings: Settings) -> None:
    """Every volume of every row."""
    points: dict[str, list[memory.Point]] = {label: [] for label in settings.rows}
    for which in SMALL_ORDER if settings.small else ORDER:
        for label, found in points.items():
            if label in TWO_VOLUMES and len(found) == 2:
                continue
            with lines.guard("volume", row=label, which=which):
                measure_volume(lines, settings, label, which, found)


def measure_volume(lines: Lines, settings: Settings, label: str, which: int, found: list[memory.Point]) -> None:
    """One point, and the line through all there are."""
    method = opened(label, which, settings)
    device, volume = method.device, volumes.volume_of(label, which, settings.small)
    weights_mb = sum(one.numel() * one.element_size() for net in method.networks.values() for one in net.parameters())
    config = CostConfig(runs=1, warmup=int(not found and not settings.small))
    with few_calls(method.networks, MOST_CALLS.get(label)):
        point = memory.measure(method, volume, config, device)
    found.append(point)
    size = {"size": list(method.spec.size), "frames": method.spec.observed_frames, "canvas": method.spec.canvas}
    lines.write(
        "volume", row=label, which=which, stage_of_peak=point.stage, weights_mb=round(weights_mb / 1e6, 1),
        dtype=settings.dtype, **size, **point.numbers(),
    )  # fmt: skip
    if len(found) > 1:
        fitted = {name: round(figure.value, 2) for name, figure in memory.figures(found).items()}
        lines.write("line", row=label, volumes=len(found), **{name.replace(" ", "_"): k for name, k in fitted.items()})


def opened(label: str, which: int, settings: Settings) -> Method:
    """The row's method at this volume, with the memory of the one before free again."""
    gc.collect()
    if settings.device.type == "cuda":
        torch.cuda.empty_cache()
    name = volumes.method_of(label)
    given: dict[str, Any] = {"dtype": settings.dtype, "device": str(settings.device)}
    given |= {"steps": STEPS[name]} if name in STEPS else {}
    given |= {"vae_dtype": settings.dtype} if name in ("vista", "gem") else {}
    return open_method(name, volumes.options_at(label, which, settings.small, True, given))


@contextmanager
def few_calls(networks: Mapping[str, torch.nn.Module], most: int | None) -> Iterator[None]:
    """Within the block, the UNet's calls after the first `most` give zeros: they would take the same memory."""
    unet: Any = networks.get("unet")
    if most is None or unet is None:
        yield
        return
    forward, calls, shown = unet.forward, [0], []

    def few(*given: Any, **named: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] <= most or not shown:
            result = forward(*given, **named)
            shown[:] = [result.shape]
            return result
        return given[0].new_zeros(shown[0])

    unet.forward = few
    try:
        yield
    finally:
        del unet.forward


if __name__ == "__main__":
    begin(work)
