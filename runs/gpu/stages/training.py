"""A training step of LTX-Video 2B at the largest batch that fits, as a share of the ceiling, beside plain diffusers.

What is timed is `worldmodel.benchmarks.studies.training_throughput`'s: the FlowFrames objective with target inversion,
float32 weights under bf16 autocast, clipping, AdamW; and diffusers' transformer alone, forward and backward. The batch
follows from the memory of two small ones instead of being doubled until it is full, and each size is compiled once.
"""

import gc
from collections.abc import Callable
from typing import Any

from device_kernels import write_kernels
from stage import Lines, Settings, begin, torch

from worldmodel.benchmarks.studies.training_throughput.networks import SIZES, build
from worldmodel.benchmarks.studies.training_throughput.rows import FRAMES
from worldmodel.benchmarks.studies.training_throughput.steps import Step, Training, plain_step
from worldmodel.benchmarks.studies.training_throughput.timing import timed
from worldmodel.benchmarks.studies.training_throughput.work import Work, ceilings, work_of
from worldmodel.benchmarks.suites.peak_memory import forget_peak, peak_mb
from worldmodel.training.attention import fastest_attention

PROBED = (16, 24)  # activations above the gradients, which would hide them
KEPT = 0.93  # of the device's memory
MULTIPLE = 4
COMPILE_S = 50.0  # kept for one more compilation


class Bench:
    """What is trained, and what a sample costs."""

    def __init__(self, lines: Lines, settings: Settings) -> None:
        self.lines, self.settings, self.device = lines, settings, settings.device
        size = "tiny" if settings.small else "2b"
        self.backbone = build(size, self.device)
        self.latents = self.backbone.geometry.latent_shape(FRAMES, *SIZES[size][1])
        self.work: Work = work_of(self.backbone, self.latents)
        self.training = Training(self.backbone, self.latents, self.device)
        self.ceiling = 0.0

    def largest(self, probed: tuple[int, ...]) -> int:
        """The largest batch whose gradients fit, from what those of two batches take."""
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
        batch = int(probed[1] + (room - taken[1]) / each)
        self.lines.write("batch", mb_a_sample=round(each, 1), mb_beside=round(taken[0] - probed[0] * each), fits=batch)
        return max(1, batch // MULTIPLE * MULTIPLE if batch > MULTIPLE else batch)

    def row(self, what: str, batch: int, make: Callable[[int], Step], seconds: float) -> int:
        """Rates at this batch, or at a smaller one where memory runs out; the batch that ran, 0 for none."""
        while batch:
            found: dict[str, float] = {}
            try:
                found = timed(make(batch), 0.2 if self.settings.small else seconds, self.device, warm_up=2)
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
        rate = samples * self.work.step / 1e12
        rounded = {name: round(value, 4) for name, value in found.items()}
        share = {"of_ceiling": round(rate / self.ceiling, 4)} if self.ceiling else {}
        self.lines.write(
            "row", of=what, batch=batch, samples_per_s=round(samples, 3), tflop_per_s=round(rate, 2), **share, **rounded
        )


def work(lines: Lines, settings: Settings) -> None:
    """Eager, plain, compiled, plain compiled, and compiled at a larger batch where there is time."""
    bench = Bench(lines, settings)
    network: Any = bench.backbone.transformer
    with fastest_attention(settings.device):
        bench.training.step(1)()  # AdamW's averages are there from now on
        batch = bench.largest((1, 2) if settings.small else PROBED)
        with lines.guard("ceilings"):
            rates = {name: rate / 1e12 for name, rate in ceilings(bench.work, batch, settings.device).items()}
            bench.ceiling = max(rates.values())
            lines.write("ceilings", tflop_per_s={name: round(rate, 4) for name, rate in rates.items()})
            lines.write("work", step_tflop=bench.work.step / 1e12, counted=bench.work.counted / bench.work.step)
        batch = eager(bench, batch) or batch
        if settings.compiles(COMPILE_S):
            network.compile_repeated_blocks()
            compiled(bench, batch)
        else:
            lines.write("row", of="FlowFrames step, compiled", skipped=f"{settings.left_s:.0f} s are left")


def eager(bench: Bench, batch: int) -> int:
    """The step and where its time goes, and diffusers alone; the batch that the step ran at."""
    lines, training = bench.lines, bench.training
    with lines.guard("row", of="FlowFrames step"):
        batch = bench.row("FlowFrames step", batch, training.step, 4.0)
        write_kernels(lines, "training step", training.step(batch), bench.device)
    free(bench.device)
    with lines.guard("row", of="plain diffusers"):
        bench.row("plain diffusers", batch, lambda size: plain_step(bench.backbone, bench.latents, size), 3.0)
    free(bench.device)
    return batch


def compiled(bench: Bench, batch: int) -> None:
    """The same with compiled blocks, also at the batch that these leave room for, and plain diffusers there."""
    lines, training = bench.lines, bench.training
    torch._dynamo.config.automatic_dynamic_shapes = False
    with lines.guard("row", of="FlowFrames step, compiled"):
        batch = bench.row("FlowFrames step, compiled", batch, training.step, 4.0)
        write_kernels(lines, "compiled training step", training.step(batch), bench.device)
    free(bench.device)
    with lines.guard("row", of="FlowFrames step, compiled, more"):
        forget_peak(bench.device)
        training.gradients(batch)()
        taken = peak_mb(bench.device)
        training.optimizer.zero_grad()
        lines.write("compiled gradients", batch=batch, peak_mb=round(taken))
        more = larger(bench, batch, taken)
        if more > batch and bench.settings.compiles(COMPILE_S):
            batch = bench.row("FlowFrames step, compiled", more, training.step, 4.0) or batch
    free(bench.device)
    with lines.guard("row", of="plain diffusers, compiled"):
        if bench.settings.compiles(COMPILE_S):
            what = "plain diffusers, compiled"
            bench.row(what, batch, lambda size: plain_step(bench.backbone, bench.latents, size), 3.0)


def larger(bench: Bench, batch: int, taken_mb: float) -> int:
    """A batch that fits, from the peak of this one; weights and AdamW's averages do not grow."""
    if bench.device.type != "cuda":
        return batch
    weights_mb = sum(one.numel() for one in bench.training.trained) * 4 / 1e6
    room = KEPT * torch.cuda.mem_get_info(bench.device)[1] / 1e6
    each = (taken_mb - 3 * weights_mb) / batch
    return int((room - 3 * weights_mb) / each) // MULTIPLE * MULTIPLE if each > 0 else batch


def free(device: torch.device) -> None:
    """Give back what nothing holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    begin(work)
