"""How much a part computes and reads: counted from a model's modules without weights, or from an ONNX graph's nodes.

FLOPs are 2 for a multiplication with addition, in matrix products, attention and convolutions; norms and activations
are left out. Bytes are weights, inputs and outputs, each once: less cannot be moved.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.errors import InputError
from worldmodel.measure.timing import synchronize

if TYPE_CHECKING:
    import torch

WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
"""Bytes of a weight."""
NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class PartWork:
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


def work_of_call(
    call: Callable[[], Any],
    module: "torch.nn.Module",
    io_bytes: int,
    constant: re.Pattern[str] = NOTHING,
    linears: Mapping[str, int] | None = None,
) -> PartWork:
    """Work of one call, which runs `module` among others; on torch's meta device nothing is computed for it.

    Args:
        constant: names of submodules that are not counted.
        linears: numbers of weights of the linears in 8 bits, by name.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    by_module = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    root, linears = type(module).__name__, linears or {}
    # A submodule's FLOPs are in its parent's count too, so only the outermost constant ones are taken away.
    outermost = [name for name in by_module if constant.search(name) and not constant.search(name.rpartition(".")[0])]
    return PartWork(
        flops=float(counter.get_total_flops() - sum(by_module[name] for name in outermost)),
        linear_flops=float(sum(by_module.get(f"{root}.{name}", 0) for name in linears)),
        weights=sum(weight.numel() for name, weight in module.named_parameters() if not constant.search(name)),
        linear_weights=sum(linears.values()),
        io_bytes=io_bytes,
    )


def work_of_graph(model: Any, path: Path, linears: Collection[Any]) -> PartWork:
    """Work of one `onnx_ir.Model` of fixed shapes, read from `path`; `linears` are its MatMul nodes in 8 bits.

    Raises:
        InputError: a shape is free.
    """
    import onnx_ir as ir

    quantised = {id(node) for node in linears}
    flops = {id(node): _node_flops(node, path) for node in model.graph}
    stored = [value.const_value for value in model.graph.initializers.values()]
    ports = [*model.graph.inputs, *model.graph.outputs]
    return PartWork(
        flops=float(sum(flops.values())),
        linear_flops=float(sum(flops[node] for node in quantised)),
        weights=sum(weight.size for weight in stored if weight is not None and weight.dtype != ir.DataType.INT64),
        linear_weights=sum(prod(_shape(node.inputs[1], path)) for node in model.graph if id(node) in quantised),
        io_bytes=sum(int(prod(_shape(port, path)) * port.dtype.itemsize) for port in ports if port.dtype is not None),
    )


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


def product_rate(shape: tuple[int, int, int], device: "torch.device", dtype: "torch.dtype", seconds: float) -> float:
    """FLOP a second of a matrix product [rows, inputs] x [inputs, outputs], measured here.

    Args:
        shape: rows, inputs, outputs.
        seconds: how long to go on; three runs at least, the best of which counts.
    """
    import torch

    rows, inputs, outputs = shape
    left, right = (torch.randn(size, device=device, dtype=dtype) for size in ((rows, inputs), (inputs, outputs)))
    repeats = 10 if device.type == "cuda" else 1  # so that a GPU's launches weigh little
    best, until, runs = 0.0, time.perf_counter() + seconds, 0
    while runs < 3 or time.perf_counter() < until:
        synchronize(device)
        began = time.perf_counter()
        for _ in range(repeats):
            left @ right
        synchronize(device)
        best, runs = max(best, repeats * 2 * prod(shape) / (time.perf_counter() - began)), runs + 1
    return best
