"""Every way to train as a row of rates: FlowFrames eager, compiled and checkpointing, and plain diffusers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.studies.training_throughput.flops import SampleFlops, ceilings, flops_of
from worldmodel.benchmarks.studies.training_throughput.steps import Step, TrainingSteps, plain_step
from worldmodel.benchmarks.studies.training_throughput.timing import fits, largest_batch, timed
from worldmodel.measure.report import Record

FRAMES = 17


@dataclass(frozen=True)
class Rig:
    """What is measured on: a backbone, its latents and work per sample, a device, seconds per row."""

    backbone: Backbone
    latents: tuple[int, ...]
    tokens: int
    flops: SampleFlops
    device: torch.device
    seconds: float

    def row(self, what: str, make: Callable[[int], Step], compiled: bool, start: int, most: int) -> Record:
        """Rates of one way to train at its largest batch; batch 0 and no rates where even `start` does not fit."""
        with torch.compiler.set_stance("default" if compiled else "force_eager"):
            batch = largest_batch(lambda number: fits(make, number, self.device), start, most)
            if not batch:
                return {"what": what, "batch": 0}
            torch.compiler.reset()
            return {"what": what, "batch": batch} | self._rates(batch, timed(make(batch), self.seconds, self.device))

    def _rates(self, batch: int, found: dict[str, float]) -> dict[str, float]:
        samples = batch / found["step_s"]
        tflop = samples * self.flops.step / 1e12
        return found | {"samples_per_s": samples, "tokens_per_s": samples * self.tokens, "tflop_per_s": tflop}


def flowframes_rows(rig: Rig, compiles: bool, most: int) -> list[Record]:
    """Training steps, with gradient checkpointing off and on, eager and compiled."""
    network: Any = rig.backbone.transformer
    training, rows = TrainingSteps(rig.backbone, rig.latents, rig.device), []
    for checkpointing in (False, True):
        (network.enable_gradient_checkpointing if checkpointing else network.disable_gradient_checkpointing)()
        what = "FlowFrames step" + ", checkpointing" * checkpointing
        rows.append(rig.row(what, training.step, False, 1, most))
        if compiles:  # every batch is compiled anew, so begin where the eager step ended
            rows.append(rig.row(f"{what}, compiled", training.step, True, max(rows[-1]["batch"], 1), most))
    network.disable_gradient_checkpointing()
    return rows


def plain_rows(rig: Rig, compiles: bool, batch: int) -> list[Record]:
    """Plain diffusers at `batch`, or at half of it and so on where that does not fit."""
    rows = []
    for compiled in (False, True)[: 1 + compiles]:
        what, row = "plain diffusers, forward and backward" + ", compiled" * compiled, {"batch": 0}
        size = batch
        while size and not row["batch"]:
            row = rig.row(what, lambda number: plain_step(rig.backbone, rig.latents, number), compiled, size, size)
            size //= 2
        rows.append(row)
    return rows


def measure(
    backbone: Backbone, size: tuple[int, int], device: torch.device, seconds: float, compiles: bool, most: int
) -> Record:
    """Every way to train, plain diffusers at the first compiled way's batch, and the ceilings."""
    network: Any = backbone.transformer
    latents = backbone.geometry.latent_shape(FRAMES, *size)
    rig = Rig(backbone, latents, backbone.geometry.tokens(FRAMES, *size), flops_of(backbone, latents), device, seconds)
    if compiles:
        network.compile_repeated_blocks()
    rows = flowframes_rows(rig, compiles, most)
    batch = rows[int(compiles)]["batch"] or 1
    rows += plain_rows(rig, compiles, batch)
    rates = {name: rate / 1e12 for name, rate in ceilings(rig.flops, batch, device).items()}
    for row in rows:
        if row["batch"]:
            row["of_ceiling"] = row["tflop_per_s"] / max(rates.values())
    return {
        "tokens": rig.tokens,
        "latents": list(latents),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "forward_tflop_per_sample": rig.flops.forward / 1e12,
        "step_tflop_per_sample": rig.flops.step / 1e12,
        "counted_over_formula": rig.flops.counted / rig.flops.step,
        "ceilings_tflop_per_s": rates,
        "rows": rows,
        "ratios": ratios(rows),
    }


def ratios(rows: list[Record]) -> dict[str, float]:
    """Samples a second of the best FlowFrames step over those of each plain row."""
    ours = [row["samples_per_s"] for row in rows if row["batch"] and row["what"].startswith("FlowFrames")]
    plain = {row["what"]: row["samples_per_s"] for row in rows if row["batch"] and row["what"].startswith("plain")}
    return {what: max(ours) / rate for what, rate in plain.items()} if ours else {}
