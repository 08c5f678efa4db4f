"""A training step of LTX-Video 2B at the largest batch that fits, as a share of the ceiling, beside plain diffusers.

What is timed is `worldmodel.benchmarks.studies.training_throughput`'s: the FlowFrames objective with target inversion,
float32 weights under bf16 autocast, clipping, AdamW; and diffusers' transformer alone, forward and backward. The batch
follows from the memory of two small eager ones instead of being doubled until it is full, and one size is compiled.
"""

import gc
from collections.abc import Callable
from typing import Any

from device_kernels import write_kernels
from stage import Lines, Settings, begin, torch

from worldmodel.benchmarks.studies.training_throughput.flops import SampleFlops, ceilings, flops_of
from worldmodel.benchmarks.studies.training_throughput.networks import SIZES, build
from worldmodel.benchmarks.studies.training_throughput.rows import FRAMES
from worldmodel.benchmarks.studies.training_throughput.steps import Step, TrainingSteps, plain_step
from worldmodel.benchmarks.studies.training_throughput.timing import timed
from worldmodel.measure.memory import forget_peak, peak_mb
from worldmodel.training.attention import fastest_attention

PROBED = (16, 24)  # activations above the gradients, which would hide them
KEPT = 0.93  # of the device's memory
MULTIPLE = 4
COMPILED_TAKES = 0.72  # of an eager sample's memory; an H100 had 1043 MB of 1461
COMPILE_S = 45.0  # kept for the compiled ways
SMALL = (5, (32, 48))  # frames and size, for a test


class Bench:
    """What is trained, and what a sample costs."""

    def __init__(self, lines: Lines, settings: Settings) -> None:
        self.lines, self.settings, self.device = lines, settings, settings.device
        self.backbone = build("tiny" if settings.small else "2b", self.device)
        frames, size = SMALL if settings.small else (FRAMES, SIZES["2b"][1])
        self.latents = self.backbone.geometry.latent_shape(frames, *size)
        self.flops: SampleFlops = flops_of(self.backbone, self.latents)
        self.training = TrainingSteps(self.backbone, self.latents, self.device)
        self.ceiling = 0.0

    def largest(self, probed: tuple[int, ...]) -> tuple[int, int]:
        """The largest batches whose gradients fit, eager and compiled, from what eager ones of two batches take."""
        taken = []
        for batch in probed:
            free(self.device)
            forget_peak(self.device)
            self.training.gradients(batch)()
            taken.append(peak_mb(self.device))
            self.training.optimizer.zero_grad()
        each = max((taken[1] - taken[0]) / (probed[1] - probed[0]), 1e-3)
        cuda = self.device.type == "cuda"
        room = KEPT * torch.cuda.mem_get_info(self.device)[1] / 1e6 if cuda else taken[1]
        beside = taken[1] - probed[1] * each
        eager, compiled = ((room - beside) / of for of in (each, COMPILED_TAKES * each))
        self.lines.write("batch", mb_a_sample=round(each, 1), mb_beside=round(beside), fits=int(eager))
        return multiple(eager), multiple(compiled)

    def row(self, what: str, batch: int, make: Callable[[int], Step], seconds: float) -> int:
        """Rates at this batch, or at a smaller one where memory runs out; the batch that ran, 0 for none."""
        while batch:
            found: dict[str, float] = {}
            try:
                found = timed(make(batch), 0.01 if self.settings.small else seconds, self.device, warm_up=2)
            except torch.OutOfMemoryError:
                self.lines.write("row", of=what, batch=batch, fits=False)
            if found:
                self._write(what, batch, found)
                return batch
            self.training.optimizer.zero_grad()  # behind the handler, which still holds what was computed
            free(self.device)
            batch = int(0.9 * batch)
        return 0

    def _write(self, what: str, batch: int, found: dict[str, float]) -> None:
        samples = batch / found["step_s"]
        rate = samples * self.flops.step / 1e12
        rounded = {name: round(value, 4) for name, value in found.items()}
        share = {"of_ceiling": round(rate / self.ceiling, 4)} if self.ceiling else {}
        self.lines.write(
            "row", of=what, batch=batch, samples_per_s=round(samples, 3), tflop_per_s=round(rate, 2), **share, **rounded
        )


def work(lines: Lines, settings: Settings) -> None:
    """The ceiling, the step eager with diffusers alone beside it, and the step compiled where there is time."""
    bench = Bench(lines, settings)
    network: Any = bench.backbone.transformer
    with fastest_attention(settings.device):
        bench.training.step(1)()  # AdamW's averages are there from now on
        batch, larger = bench.largest((1, 2) if settings.small else PROBED)
        with lines.guard("ceilings"):
            given = (0.01, 256) if settings.small else (0.3,)
            rates = {name: rate / 1e12 for name, rate in ceilings(bench.flops, batch, settings.device, *given).items()}
            bench.ceiling = max(rates.values())
            lines.write("ceilings", tflop_per_s={name: round(rate, 4) for name, rate in rates.items()})
            lines.write("work", step_tflop=bench.flops.step / 1e12, counted=bench.flops.counted / bench.flops.step)
        batch = step(bench, batch, "", 1.0)
        with lines.guard("row", of="plain diffusers"):
            bench.row("plain diffusers", batch, lambda size: plain_step(bench.backbone, bench.latents, size), 1.0)
        free(bench.device)
        if settings.compiles(COMPILE_S):
            torch._dynamo.config.automatic_dynamic_shapes = False
            network.compile_repeated_blocks()
            step(bench, larger, ", compiled", 4.0)
        else:
            lines.write("row", of="FlowFrames step, compiled", skipped=f"{settings.left_s:.0f} s are left")


def step(bench: Bench, batch: int, how: str, seconds: float) -> int:
    """The step, and where the time of a compiled one goes; the batch that it ran at."""
    lines, training, what = bench.lines, bench.training, f"FlowFrames step{how}"
    with lines.guard("row", of=what):
        batch = bench.row(what, batch, training.step, seconds) or batch
        if how or bench.settings.small:
            write_kernels(lines, f"training step{how}", training.step(batch), bench.device)
    free(bench.device)
    return batch


def multiple(batch: float) -> int:
    """The multiple of `MULTIPLE` below, at least 1."""
    return max(1, int(batch) // MULTIPLE * MULTIPLE if batch > MULTIPLE else int(batch))


def free(device: torch.device) -> None:
    """Give back what nothing holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    begin(work, compiles=True)
