"""In which numbers a graph computes: casting it, and finding the layers that fp16 cannot hold.

A graph in half precision keeps float32 where diffusers does: norms, Wan's time embedding and modulation, rotary
positions, normalisation, and everything at its border. Every layer casts what it is given to its own type, so that one
layer more in float32 changes nothing else: its output stays float32 until the next layer in half precision. Wherever a
network adds to a residual stream, the stream is as wide as what enters it.

fp16 ends at 65504. Layers that come near it, seen with some calibration inputs, stay in float32.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.errors import InputError

FLOATS: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LIMIT = 3e4
"""Largest magnitude that a layer may meet in fp16: half of what fp16 holds."""

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
NORMS = (nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class LayerRange:
    """Largest magnitudes that went into and came out of a layer."""

    input: float
    output: float


class InFloat32(nn.Module):
    """A norm that computes in float32 and answers in the type it was asked in."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.float()).to(x.dtype)


def cast(graph: nn.Module, dtype: torch.dtype, keep: Collection[str] = ()) -> nn.Module:
    """Weights and computation of `graph`, made of `shared_copy`s, in `dtype`; it is changed and returned.

    Parameters become new tensors, so that the modules whose weights were shared stay as they are. Buffers keep their
    type: they hold what must be exact.

    Args:
        keep: names of layers that stay in float32, see `beyond_half`.

    Raises:
        InputError: `keep` names a layer that the graph does not have.
    """
    modules = dict(graph.named_modules())
    for name in keep:
        if not isinstance(modules.get(name), LAYERS):
            raise InputError(f"keep={name}: the graph has no such layer; take names from its range record")
    wide = float32_names(graph)
    for name, module in modules.items():
        for own, parameter in module._parameters.items():
            if parameter is not None:
                stays = name in keep or _lies_in(f"{name}.{own}", wide) or isinstance(module, NORMS)
                fitting = parameter.detach().to(torch.float32 if stays else dtype)
                module._parameters[own] = nn.Parameter(fitting, requires_grad=False)
        if isinstance(module, LAYERS):
            module.register_forward_pre_hook(_cast_inputs)
    for name, module in modules.items():
        if type(module) in NORMS and dtype != torch.float32:
            parent, _, child = name.rpartition(".")
            setattr(graph.get_submodule(parent), child, InFloat32(module))
    return graph


def float32_names(graph: nn.Module) -> tuple[str, ...]:
    """Names of modules and parameters that the graph's networks want in float32 (their `float32_names`)."""
    return tuple(name for module in graph.modules() for name in getattr(module, "float32_names", ()))


def _lies_in(name: str, wide: Iterable[str]) -> bool:
    return any(f".{part}." in f".{name}." for part in wide)


def _cast_inputs(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.to(layer.weight.dtype) if isinstance(value, Tensor) else value for value in inputs)


@contextmanager
def recorded(graph: nn.Module) -> Iterator[dict[str, LayerRange]]:
    """Largest magnitudes at each layer of `graph`, by name, over all its calls in the block; run it in float32."""
    ranges: dict[str, LayerRange] = {}

    def note(name: str, inputs: tuple[Any, ...], output: Tensor) -> None:
        so_far = ranges.get(name, LayerRange(0.0, 0.0))
        ranges[name] = LayerRange(_largest(so_far.input, inputs[0]), _largest(so_far.output, output))

    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs, output))
        for name, module in graph.named_modules()
        if isinstance(module, LAYERS)
    ]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()


def _largest(so_far: float, tensor: Tensor) -> float:
    magnitude = float(tensor.abs().max())
    return magnitude if magnitude != magnitude else max(so_far, magnitude)  # a NaN is kept


def beyond_half(ranges: dict[str, LayerRange], limit: float = LIMIT) -> list[str]:
    """Names of the layers whose input or output exceeded `limit`, or was not finite."""
    return [name for name, met in ranges.items() if not (met.input <= limit and met.output <= limit)]
