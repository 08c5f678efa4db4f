"""Before a run starts: how large it is, what it will take, and which slow paths it takes."""

import shutil
from dataclasses import dataclass
from typing import Any

import torch

from worldmodel.backbones.backbone import LatentGeometry
from worldmodel.errors import InputError
from worldmodel.measure.flops import product_rate
from worldmodel.training.config import TrainConfig

OF_PEAK = 0.4  # share of the rate of a plain matrix product that training reached in practice
BLOCK_BYTES = 34  # per token, width and block, of half-precision activations with fused attention (Korthikanti 2022)


@dataclass(frozen=True)
class Estimate:
    """One process' share of a run; rough, for planning.

    Attributes:
        parameters, trained: of the whole network and those that are trained.
        tokens: of one sample, observed chunk included where the network sees it.
        global_batch: samples of a step over all processes.
        memory_gb: weights, gradients, optimiser and average, activations; in units of 10^9 bytes.
        step_tflop: of one process in one step.
        seconds: of the whole run, at `OF_PEAK` of the measured rate of a matrix product; without encoding.
    """

    parameters: int
    trained: int
    tokens: int
    global_batch: int
    memory_gb: dict[str, float]
    step_tflop: float
    seconds: float

    def __str__(self) -> str:
        memory = ", ".join(f"{name} {value:.2f}" for name, value in self.memory_gb.items())
        return (
            f"{self.parameters / 1e6:.1f} M parameters, {self.trained / 1e6:.1f} M trained; {self.tokens} tokens a "
            f"sample, {self.global_batch} samples a step; memory of a process about {sum(self.memory_gb.values()):.2f} "
            f"GB ({memory}); {self.step_tflop:.3g} TFLOP a step and process, about {_hours(self.seconds)} in all"
        )


def estimate(
    config: TrainConfig, geometry: LatentGeometry, transformer: torch.nn.Module, processes: int, device: torch.device
) -> Estimate:
    """What training `transformer` as `config` says will take; of several lengths, the longest counts."""
    parameters = sum(weight.numel() for weight in transformer.parameters())
    trained = sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
    tokens = geometry.tokens(max(config.data.frames), *config.data.size)
    tokens *= 2 if config.objective == "noise_conditioned" else 1
    sizes: Any = transformer.config
    width, layers = sizes.num_attention_heads * sizes.attention_head_dim, sizes.num_layers
    half = 2 if config.precision == "bf16" else 4
    kept = (2 * layers + BLOCK_BYTES) if config.checkpoint_gradients else BLOCK_BYTES * layers
    memory = {
        "weights": 4 * parameters,
        "gradients": 4 * trained,
        "optimiser and average": (8 + (4 if config.optimizer.ema else 0)) * trained,
        "activations": config.batch_size * tokens * width * kept * half / 2,
    }
    passes = 4 if config.checkpoint_gradients else 3
    forward = 2 * parameters * tokens + 4 * layers * tokens**2 * width
    step_flop = passes * forward * config.batch_size * config.accumulate
    seconds = config.steps * step_flop / (OF_PEAK * matrix_rate(device, config.precision))
    return Estimate(
        parameters, trained, tokens, config.batch_size * config.accumulate * processes,
        {name: value / 1e9 for name, value in memory.items()}, step_flop / 1e12, seconds,
    )  # fmt: skip


def matrix_rate(device: torch.device, precision: str) -> float:
    """FLOP per second of a square matrix product, measured here; the best of three.

    A CPU without bfloat16 units does 1 GFLOP a second: 1024 rows held every run up for 9 s before its first step.
    """
    size = 8192 if device.type == "cuda" else 256
    return product_rate((size, size, size), device, torch.bfloat16 if precision == "bf16" else torch.float32, 0.0)


def slow_paths(config: TrainConfig, device: torch.device) -> list[str]:
    """One plain line for everything that makes this run slower than it could be."""
    lines = []
    if device.type != "cuda":
        lines.append("no GPU: training on the CPU")
    if config.precision == "no":
        lines.append("precision=no: float32; precision=bf16 is faster on most hardware")
    if config.objective == "autoencoder":
        return lines
    if not config.compile:
        lines.append("compile=false: the transformer's blocks are not compiled; compile=true is faster in long runs")
    if device.type == "cuda" and not torch.backends.cuda.is_flash_attention_available():
        lines.append("this torch has no flash attention: attention takes more time and memory")
    if device.type == "cuda" and config.precision == "no":
        lines.append("precision=no: flash attention works in half precision only")
    if config.checkpoint_gradients:
        lines.append("checkpoint_gradients=true: a third more work for less memory")
    if not config.data.latent_cache:
        again = f", and inverts in {2 * config.inversion_steps} evaluations" if config.inverts else ""
        lines.append(f"data.latent_cache=false: every step reads and encodes frames{again}")
    return lines


def check_compiler() -> None:
    """Raise `InputError` where torch.compile would find no C++ compiler."""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise InputError("compile=true: no C++ compiler found; install g++ or leave compile out")


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
