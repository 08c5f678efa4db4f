"""How much a part computes and reads: counted from a model's modules without weights, or from an artifact's graphs.

FLOPs are 2 for a multiplication with addition, in matrix products, attention and convolutions; norms and activations
are left out. Bytes are weights, inputs and outputs, each once: less cannot be moved.

Shape legend: B clips; C f h w latents; L prompt tokens.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact

FAMILIES = ("ltx", "wan")
WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
"""Bytes of a weight."""

BAKED = r"(attn2\.(to_k|to_v|norm_k)|caption_projection|text_embedder)(\.|$)"
FOLDED = r"(attn2|caption_projection|text_embedder)(\.|$)"
"""Modules that a baked prompt makes constant; with one token cross-attention is constant altogether."""


@dataclass(frozen=True)
class Work:
    """One run of one part.

    Attributes:
        flops: all; `linear_flops` of them in linears that INT8 and FP8 quantise.
        weights: numbers of weights; `linear_weights` of them in those linears.
        io_bytes: of inputs and outputs.
    """

    flops: float
    linear_flops: float
    weights: int
    linear_weights: int
    io_bytes: int

    def bytes(self, precision: str) -> int:
        """Weights, inputs and outputs; what INT8 and FP8 leave is in fp16."""
        wide = WIDTHS[base_of(precision)]
        rest = self.weights - self.linear_weights
        return rest * wide + self.linear_weights * WIDTHS[precision] + self.io_bytes


def base_of(precision: str) -> str:
    """The float type around quantised linears."""
    return "fp16" if precision in ("int8", "fp8") else precision


def work_of_family(
    family: str,
    size: tuple[int, int, int],
    cameras: int = 1,
    guided: bool = False,
    prompt_tokens: int = 1,
    baked: bool = True,
) -> dict[str, Work]:
    """Encoder, step and decoder of the published model, counted on torch's meta device: no weights are made.

    Args:
        size: frames, height and width of a clip.
        cameras: clips at once.
        guided: each step evaluates two prompts.
        prompt_tokens: that cross-attention attends to.
        baked: without what a baked prompt makes constant, as in the exported graphs.

    Raises:
        InputError: another family, or a size without a latent.
    """
    import torch

    from worldmodel.backbones.random import random_backbone

    if family not in FAMILIES:
        raise InputError(f"family={family}: choose {' or '.join(FAMILIES)}, or give artifact=FOLDER")
    backbone: Any = random_backbone(family, "real", torch.float32, "meta")
    shape = backbone.geometry.latent_shape(*size)
    if family == "wan":
        backbone.text_length = prompt_tokens  # unpadded: equal keys are one key in the exported graph
    with torch.no_grad():
        many, width = cameras * (1 + guided), backbone._prompt_width
        shapes = ((cameras, 3, *size), (cameras, *shape), (many, *shape), (1, prompt_tokens, width), (many,))
        video, latents, rows, prompt, sigma = (torch.empty(axes, device="meta") for axes in shapes)
        constant = None if not baked else FOLDED if prompt_tokens == 1 else BAKED
        frames_bytes, latents_bytes = video.numel(), 4 * latents.numel()
        vae, transformer = backbone.vae, backbone.transformer
        return {
            "encoder": _counted(lambda: backbone.encode(video), vae.encoder, frames_bytes + latents_bytes),
            "step": _counted(
                lambda: backbone.velocity(rows, sigma, prompt), transformer, 2 * latents_bytes, constant, quantised=True
            ),
            "decoder": _counted(lambda: backbone.decode(latents), vae.decoder, latents_bytes + frames_bytes),
        }


def _counted(
    call: Callable[[], Any], module: Any, io_bytes: int, constant: str | None = None, quantised: bool = False
) -> Work:
    """Work of one call, which runs `module` among others; without the submodules whose names fit `constant`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    by_module = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    skipped = re.compile(rf"(^|\.){constant}" if constant else r"(?!)")
    root = type(module).__name__
    linears = _quantised_linears(module, skipped) if quantised else {}
    outermost = [name for name in by_module if skipped.search(name) and not skipped.search(name.rpartition(".")[0])]
    return Work(
        flops=float(counter.get_total_flops() - sum(by_module[name] for name in outermost)),
        linear_flops=float(sum(by_module.get(f"{root}.{name}", 0) for name in linears)),
        weights=sum(one.numel() for name, one in module.named_parameters() if not skipped.search(name)),
        linear_weights=sum(linears.values()),
        io_bytes=io_bytes,
    )


def _quantised_linears(module: Any, skipped: re.Pattern[str]) -> dict[str, int]:
    """Weights of each linear that `quantise` would take, by name."""
    from torch import nn

    from worldmodel.export.quantisation.linears import IN_BLOCK, wide_blocks

    found = {
        name: (int(match[1]), one.weight.numel())
        for name, one in module.named_modules()
        if isinstance(one, nn.Linear) and (match := IN_BLOCK.search(name)) and not skipped.search(name)
    }
    blocks = max((block + 1 for block, _ in found.values()), default=0)
    ends = wide_blocks(blocks)
    return {name: weights for name, (block, weights) in found.items() if ends <= block < blocks - ends}


def work_of_artifact(artifact: Artifact) -> dict[str, Work]:
    """The same, by part, from the ONNX files; `InputError` where one is missing or altered, or its shapes are free."""
    return {part: work_of_graph(path) for part, path in artifact.onnx_files(artifact.parts).items()}


def work_of_graph(path: Path) -> Work:
    """Work of one ONNX file of fixed shapes."""
    import onnx_ir as ir

    from worldmodel.export.check.rules import load_graph

    model = load_graph(path)
    quantised = {id(one) for one in _eight_bit_products(model)}
    flops = {id(node): _node_flops(node, path) for node in model.graph}
    stored = [value.const_value for value in model.graph.initializers.values()]
    ports = [*model.graph.inputs, *model.graph.outputs]
    return Work(
        flops=float(sum(flops.values())),
        linear_flops=float(sum(flops[one] for one in quantised)),
        weights=sum(one.size for one in stored if one is not None and one.dtype != ir.DataType.INT64),
        linear_weights=sum(prod(_shape(node.inputs[1], path)) for node in model.graph if id(node) in quantised),
        io_bytes=sum(int(prod(_shape(port, path)) * port.dtype.itemsize) for port in ports if port.dtype is not None),
    )


def _eight_bit_products(model: Any) -> Iterable[Any]:
    """MatMuls in 8 bits; in a graph without any those that `quantise` would take."""
    from worldmodel.export.quantisation.linears import kept_wide, linears_of

    there = [
        node
        for node in model.graph
        if node.op_type == "MatMul" and (made := node.inputs[1].producer()) and made.op_type == "DequantizeLinear"
    ]
    if there:
        return there
    linears = linears_of(model)
    kept = kept_wide(linears, ())
    return [linear.node for linear in linears if linear.name not in kept]


def _node_flops(node: Any, path: Path) -> float:
    """2 * outputs * (numbers that are summed up for each of them)."""
    if node.op_type in ("MatMul", "Gemm"):
        inner = _shape(node.inputs[0], path)[0 if node.attributes.get_int("transA", 0) else -1]
    elif node.op_type == "Conv":
        inner = prod(_shape(node.inputs[1], path)[1:])
    else:
        return 0.0
    return 2.0 * prod(_shape(node.outputs[0], path)) * inner


def _shape(value: Any, path: Path) -> tuple[int, ...]:
    axes = tuple(value.shape) if value.shape is not None else (None,)
    if not all(isinstance(axis, int) for axis in axes):
        raise InputError(f"{path}: {value.name} has no fixed shape; count an artifact exported with dynamic=false")
    return axes
