"""How fast a training step runs at real size, beside a matrix product and beside plain diffusers on the same device.

    python -m worldmodel.benchmarks.training_throughput --size 2b|1.3b|tiny [--seconds 20] [--keep]

The published network (LTX-Video 2B: 17 frames of 256 x 384, 288 tokens; Wan 2.1 1.3B: 240 x 416, 1950 tokens) with
random weights in float32, under bf16 autocast, through the FlowFrames objective (Algorithm 1, latents from the host in
every step), clipping and AdamW; blocks compiled and not, gradient checkpointing off and on. The batch is doubled until
memory runs out. Beside it diffusers' own transformer alone: forward and backward, no optimiser.

FLOP of a step = 3 x batch x forward; forward = sum over linear layers of 2 x inputs x outputs x rows, plus attention's
4 x queries x keys x width a layer. What checkpointing computes again and the optimiser are not counted. torch's own
counter checks the sum. The ceiling is the best bf16 matrix product measured in the same run: a large square, and the
network's own linear layers at the batch's number of rows, each weighted by its FLOP.
"""

import argparse
import gc
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.backbones.wan import WanBackbone
from worldmodel.benchmarks import machine
from worldmodel.errors import InputError
from worldmodel.provenance import device_name
from worldmodel.training.attention import fastest_attention
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.estimate import check_compiler
from worldmodel.training.objectives import objective_of

FRAMES = 17
PUBLISHED = Path("the published model")
LTX_PROMPT = 128  # tokens of a prompt in diffusers' LTXPipeline; Wan has 512
GOAL = 0.45
SQUARE = {"cuda": 8192, "cpu": 1024}
MOST = {"cuda": 4096, "cpu": 4}  # batch; a CPU would swap rather than say that memory ran out
Step = Callable[[], None]
Linears = Counter[tuple[int, int]]
"""Rows a sample by (inputs, outputs) of linear layers."""


# --- networks -------------------------------------------------------------------------------------------------------
def ltx_2b() -> Backbone:
    """LTX-Video 2B 0.9.5; its VAE without memory, for the geometry."""
    with torch.device("meta"):
        vae = AutoencoderKLLTXVideo(**configs.ltx_vae_arguments(configs.LTX_2B_095["vae"], PUBLISHED))
    sizes = configs.ltx_transformer_arguments(configs.LTX_2B_095["transformer"], PUBLISHED)
    prompt = torch.zeros(1, LTX_PROMPT, sizes["caption_channels"]), torch.ones(1, LTX_PROMPT)
    return LTXBackbone(
        vae, LTXVideoTransformer3DModel(**sizes), empty_prompt_embeds=prompt[0], empty_prompt_mask=prompt[1]
    )


def wan_13b() -> Backbone:
    """Wan 2.1 1.3B; its VAE without memory, for the geometry."""
    with torch.device("meta"):
        vae = AutoencoderKLWan(**configs.wan_vae_arguments(configs.WAN_21_13B["vae"], PUBLISHED))
    sizes = configs.wan_transformer_arguments(configs.WAN_21_13B["transformer"], PUBLISHED)
    return WanBackbone(vae, WanTransformer3DModel(**sizes))


def tiny() -> Backbone:
    """The sizes of the shipped tiny model."""
    vae = tiny_vae(base_channels=16, latent_channels=64, spatial=16, temporal=4)
    return tiny_backbone(vae, tiny_transformer(64, layers=4, heads=3, head_dim=96, caption_channels=16))


SIZES: dict[str, tuple[Callable[[], Backbone], tuple[int, int]]] = {
    "2b": (ltx_2b, (256, 384)),
    "1.3b": (wan_13b, (240, 416)),
    "tiny": (tiny, (128, 192)),
}


def build(size: str, device: torch.device) -> Backbone:
    """The backbone of `size`, its network made on the device, in float32, ready for training."""
    if size != "tiny" and device.type != "cuda":
        raise InputError(f"--size {size} needs a CUDA device: weights, gradients and AdamW take over 20 GB; use tiny")
    torch.manual_seed(0)
    with device:
        backbone = SIZES[size][0]()
    network: Any = backbone.transformer
    network.requires_grad_(True).train()
    return backbone


# --- FLOP and their ceiling -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Work:
    """FLOP of a sample: `forward` by our formula, `counted` by torch's counter over forward and backward.

    `linears` has the rows of a sample by (inputs, outputs).
    """

    forward: float
    counted: float
    linears: Linears

    @property
    def step(self) -> float:
        """Of a training step, a sample."""
        return 3 * self.forward


def work_of(backbone: Backbone, latents: tuple[int, ...]) -> Work:
    """Counted in one forward and backward of one sample."""
    network: Any = backbone.transformer
    linears, attention = Counter[tuple[int, int]](), Counter[str]()

    def seen(module: Any, given: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            linears[module.in_features, module.out_features] += output.numel() // module.out_features
        else:
            linears[module.weight[0].numel(), module.out_channels] += output[0, 0].numel()

    layers = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv3d))]
    hooks = [layer.register_forward_hook(seen) for layer in layers]
    hooks += [
        block.register_forward_hook(attended(attention), with_kwargs=True)
        for name, block in network.named_modules()
        if name.endswith((".attn1", ".attn2"))
    ]
    with FlopCounterMode(display=False) as counter:
        plain_step(backbone, latents, 1)()
    for hook in hooks:
        hook.remove()
    products = sum(2 * inputs * outputs * rows for (inputs, outputs), rows in linears.items())
    return Work(products + attention["flop"], counter.get_total_flops(), linears)


def attended(total: Counter[str]) -> Callable[..., None]:
    """A hook that adds an attention layer's 4 x queries x keys x width to `total`."""

    def seen(module: Any, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        queries = named.get("hidden_states", given[0] if given else None)
        keys = named.get("encoder_hidden_states", given[1] if len(given) > 1 else None)
        assert queries is not None
        keys = queries if keys is None else keys
        total["flop"] += 4 * queries.shape[1] * keys.shape[1] * module.to_q.out_features

    return seen


def product_rate(rows: int, inputs: int, outputs: int, device: torch.device, seconds: float = 0.5) -> float:
    """FLOP a second of a bf16 matrix product [rows, inputs] x [inputs, outputs]; the best of several runs."""
    left, right = (
        torch.randn(shape, device=device, dtype=torch.bfloat16) for shape in ((rows, inputs), (inputs, outputs))
    )
    flop, best, until, runs = 2 * rows * inputs * outputs, 0.0, time.perf_counter() + seconds, 0
    while runs < 3 or time.perf_counter() < until:
        synchronize(device)
        began = time.perf_counter()
        for _ in range(repeated := 10 if device.type == "cuda" else 1):
            left @ right
        synchronize(device)
        best, runs = max(best, repeated * flop / (time.perf_counter() - began)), runs + 1
    return best


def ceilings(work: Work, batch: int, device: torch.device) -> dict[str, float]:
    """FLOP a second of a large square product, and of the network's linear layers weighted by their FLOP."""
    flop = {shape: 2 * shape[0] * shape[1] * rows for shape, rows in work.linears.items()}
    large = [shape for shape in flop if flop[shape] > 0.01 * sum(flop.values())]
    seconds = sum(flop[shape] / product_rate(batch * work.linears[shape], *shape, device) for shape in large)
    side = SQUARE[device.type]
    return {
        f"square of {side}": product_rate(side, side, side, device, 2.0),
        "linear layers": sum(flop[shape] for shape in large) / seconds,
    }


# --- steps ----------------------------------------------------------------------------------------------------------
class Training:
    """The FlowFrames objective with AdamW, its step given a batch size."""

    def __init__(self, backbone: Backbone, latents: tuple[int, ...], device: torch.device) -> None:
        self.config = TrainConfig(DataConfig("latents"))
        self.latents, self.device = latents, device
        self.objective = objective_of(self.config, backbone)
        self.trained = [one for one in self.objective.parameters() if one.requires_grad]
        settings = self.config.optimizer
        self.optimizer = torch.optim.AdamW(
            self.trained, settings.lr, settings.betas, weight_decay=settings.weight_decay, foreach=True
        )

    def step(self, batch: int) -> Step:
        """A step on latents that lie on the host."""
        held = self._host_batch(batch)

        def step() -> None:
            moved = {
                name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
                for name, value in held.items()
            }
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = self.objective(moved)["loss"]
            loss.backward()
            float(torch.nn.utils.clip_grad_norm_(self.trained, self.config.optimizer.clip))
            self.optimizer.step()
            self.optimizer.zero_grad()

        return step

    def _host_batch(self, batch: int) -> dict[str, Any]:
        tensors = {
            "mean": torch.randn(batch, 2, *self.latents).half(),
            "std": torch.rand(batch, *self.latents).half(),
            "noise": torch.randn(batch, *self.latents).half(),
        }
        if self.device.type == "cuda":
            tensors = {name: value.pin_memory() for name, value in tensors.items()}
        return tensors | {"frame_rate": [12.0] * batch, "seed": list(range(batch))}


def plain_step(backbone: Backbone, latents: tuple[int, ...], batch: int) -> Step:
    """Forward and backward of diffusers' transformer, called as its own pipeline calls it."""
    network: Any = backbone.transformer
    prompt, mask = backbone.empty_prompt()
    device = prompt.device
    f, h, w = latents[1:]
    timestep, x = torch.full((batch,), 500.0, device=device), torch.randn(batch, *latents, device=device)
    given: dict[str, Any] = {"timestep": timestep, "return_dict": False}
    if isinstance(backbone, WanBackbone):
        given["encoder_hidden_states"] = prompt.new_zeros(batch, backbone.text_length, prompt.shape[2])
    else:
        x = x.flatten(2).transpose(1, 2)
        given |= {"encoder_hidden_states": prompt.expand(batch, -1, -1), "num_frames": f, "height": h, "width": w}
        given["encoder_attention_mask"] = None if mask is None else mask.expand(batch, -1)
        given["rope_interpolation_scale"] = (backbone.geometry.temporal / 12, *2 * (backbone.geometry.spatial,))
    target = torch.randn_like(x)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            predicted = network(hidden_states=x, **given)[0]
        (predicted.float() - target).square().mean().backward()
        network.zero_grad(set_to_none=True)

    return step


# --- measuring ------------------------------------------------------------------------------------------------------
def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fits(make: Callable[[int], Step], batch: int, device: torch.device) -> bool:
    """Whether two steps run in the memory there is (the first makes AdamW's averages)."""
    torch.compiler.reset()  # else the second size would be compiled for any size, and run slower
    try:
        step = make(batch)
        for _ in range(2):
            step()
        synchronize(device)
        enough = True
    except torch.OutOfMemoryError:
        enough = False
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return enough


def largest_batch(fit: Callable[[int], bool], start: int, most: int) -> int:
    """Double from `start` while it fits, at most to `most`; 0 where `start` itself does not fit."""
    batch = 0
    while start <= most and fit(start):
        batch, start = start, 2 * start
    return batch


def timed(step: Step, seconds: float, device: torch.device, warm_up: int = 3) -> dict[str, float]:
    """Median seconds a step, steps taken, and the peak of memory in units of 10^9 bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(warm_up):
        step()
    synchronize(device)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < until:
        began = time.perf_counter()
        step()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return {"step_s": median(taken), "steps": len(taken), "peak_gb": peak_bytes(device) / 1e9}


def peak_bytes(device: torch.device) -> int:
    """Of tensors on a GPU since the last reset; on a CPU of the whole process since it started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def row_of(name: str, batch: int, tokens: int, work: Work, found: dict[str, float]) -> dict[str, Any]:
    """Rates of one way to train."""
    samples = batch / found["step_s"]
    rates = {"samples_per_s": samples, "tokens_per_s": samples * tokens, "tflop_per_s": samples * work.step / 1e12}
    return {"what": name, "batch": batch} | found | rates


@dataclass(frozen=True)
class Rig:
    """What is measured on: a backbone, its latents and work per sample, a device, seconds per row."""

    backbone: Backbone
    latents: tuple[int, ...]
    tokens: int
    work: Work
    device: torch.device
    seconds: float

    def row(self, what: str, make: Callable[[int], Step], compiled: bool, start: int, most: int) -> dict[str, Any]:
        """Rates of one way to train at its largest batch; batch 0 and no rates where even `start` does not fit."""
        with torch.compiler.set_stance("default" if compiled else "force_eager"):
            batch = largest_batch(lambda number: fits(make, number, self.device), start, most)
            if not batch:
                return {"what": what, "batch": 0}
            torch.compiler.reset()
            return {"what": what, "batch": batch} | self._rates(batch, timed(make(batch), self.seconds, self.device))

    def _rates(self, batch: int, found: dict[str, float]) -> dict[str, float]:
        samples = batch / found["step_s"]
        tflop = samples * self.work.step / 1e12
        return found | {"samples_per_s": samples, "tokens_per_s": samples * self.tokens, "tflop_per_s": tflop}


def flowframes_rows(rig: Rig, compiles: bool, most: int) -> list[dict[str, Any]]:
    """Training steps, with gradient checkpointing off and on, eager and compiled."""
    network: Any = rig.backbone.transformer
    training, rows = Training(rig.backbone, rig.latents, rig.device), []
    for checkpointing in (False, True):
        (network.enable_gradient_checkpointing if checkpointing else network.disable_gradient_checkpointing)()
        what = "FlowFrames step" + ", checkpointing" * checkpointing
        rows.append(rig.row(what, training.step, False, 1, most))
        if compiles:  # every batch is compiled anew, so begin where the eager step ended
            rows.append(rig.row(f"{what}, compiled", training.step, True, max(rows[-1]["batch"], 1), most))
    network.disable_gradient_checkpointing()
    return rows


def plain_rows(rig: Rig, compiles: bool, batch: int) -> list[dict[str, Any]]:
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
) -> dict[str, Any]:
    """Every way to train, plain diffusers at the first compiled way's batch, and the ceilings."""
    network: Any = backbone.transformer
    latents = backbone.geometry.latent_shape(FRAMES, *size)
    rig = Rig(backbone, latents, backbone.geometry.tokens(FRAMES, *size), work_of(backbone, latents), device, seconds)
    if compiles:
        network.compile_repeated_blocks()
    rows = flowframes_rows(rig, compiles, most)
    batch = rows[int(compiles)]["batch"] or 1
    rows += plain_rows(rig, compiles, batch)
    rates = {name: rate / 1e12 for name, rate in ceilings(rig.work, batch, device).items()}
    for row in rows:
        if row["batch"]:
            row["of_ceiling"] = row["tflop_per_s"] / max(rates.values())
    return {
        "tokens": rig.tokens,
        "latents": list(latents),
        "parameters": sum(one.numel() for one in network.parameters()),
        "forward_tflop_per_sample": rig.work.forward / 1e12,
        "step_tflop_per_sample": rig.work.step / 1e12,
        "counted_over_formula": rig.work.counted / rig.work.step,
        "ceilings_tflop_per_s": rates,
        "rows": rows,
        "ratios": ratios(rows),
    }


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Samples a second of the best FlowFrames step over those of each plain row."""
    ours = [row["samples_per_s"] for row in rows if row["batch"] and row["what"].startswith("FlowFrames")]
    plain = {row["what"]: row["samples_per_s"] for row in rows if row["batch"] and row["what"].startswith("plain")}
    return {what: max(ours) / rate for what, rate in plain.items()} if ours else {}


# --- results --------------------------------------------------------------------------------------------------------
def text_of(found: dict[str, Any], size: str, device: str) -> str:
    """The table for people, the ceilings and the verdict."""
    lines = [line_of(row) for row in found["rows"]]
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in found["ceilings_tflop_per_s"].items())
    facts = [
        f"{size}: {found['parameters'] / 1e6:.0f} M parameters in float32, bf16 autocast, {found['tokens']} tokens a "
        f"sample, random weights, on {device}.",
        machine.table(lines),
        f"bf16 matrix products, TFLOP/s: {rates}; the larger one is the ceiling. A step is "
        f"{found['step_tflop_per_sample']:.3g} TFLOP a sample; torch's counter finds "
        f"{found['counted_over_formula']:.3f} times that.",
        *(f"Best FlowFrames step over {what}: {ratio:.2f} × samples/s." for what, ratio in found["ratios"].items()),
        *found["skipped"],
    ]
    best = max(row.get("of_ceiling", 0.0) for row in found["rows"] if row["what"].startswith("FlowFrames"))
    if not found["skipped"]:
        facts.append(f"Goal, at least {GOAL:.0%} of the ceiling: {best:.1%}, {'met' if best >= GOAL else 'missed'}.")
    return "\n\n".join(["# Training throughput", *facts])


def line_of(row: dict[str, Any]) -> dict[str, str]:
    """One row of the table; dashes where nothing fitted."""
    formats = {
        "step_s": ("s a step ↓", "{:.3f}"), "samples_per_s": ("samples/s ↑", "{:.2f}"),
        "tokens_per_s": ("tokens/s ↑", "{:.0f}"), "tflop_per_s": ("TFLOP/s ↑", "{:.3g}"),
        "of_ceiling": ("of the ceiling ↑", "{:.1%}"), "peak_gb": ("peak GB ↓", "{:.1f}"),
    }  # fmt: skip
    cells = {title: shape.format(row[key]) if key in row else "-" for key, (title, shape) in formats.items()}
    return {"what": row["what"], "batch": str(row["batch"] or "does not fit")} | cells


def skipped(device: torch.device, compiles: bool) -> list[str]:
    """What this device cannot say, a sentence each."""
    lines = []
    if device.type != "cuda":
        lines.append(
            "No CUDA device: the real sizes 2b and 1.3b, doubling the batch until memory runs out and the goal were "
            f"skipped (batch at most {MOST['cpu']}); the peak is the whole process's, over its life."
        )
    if not compiles:
        lines.append("Compiled blocks were skipped (--no-compile).")
    return lines


def compare(chosen: argparse.Namespace) -> None:
    """Measure, print the table and the JSON line."""
    about, device = machine.describe(("torch", "diffusers")), torch.device(chosen.device)
    if chosen.compile:
        check_compiler()
    backbone = build(chosen.size, device)
    most = chosen.most or MOST[device.type]
    with fastest_attention(device):
        found = measure(backbone, SIZES[chosen.size][1], device, chosen.seconds, chosen.compile, most)
    found["skipped"] = skipped(device, chosen.compile)
    result = {"benchmark": "training_throughput", "size": chosen.size, "device": device_name(device), **found}
    text = text_of(found, chosen.size, result["device"])
    machine.publish("training_throughput", text, result | {"machine": about}, chosen.keep)


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="2b" if cuda else "tiny")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, for each row")
    parser.add_argument("--most", type=int, help="largest batch to try")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave compiled blocks out")
    parser.add_argument("--keep", action="store_true", help="write the table and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
