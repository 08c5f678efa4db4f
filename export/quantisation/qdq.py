"""Quantise and dequantise nodes around the linears: weights are stored in 8 bits, activations rounded on their way in.

    x -> QuantizeLinear -> DequantizeLinear -> MatMul <- DequantizeLinear <- weight in 8 bits
                                                 |
                                                Add <- bias

Symmetric, as TensorRT wants it: zero points are 0, one scale for a tensor of activations, one for each output channel
of a weight. Two habits are for ONNX Runtime on x86, which otherwise computes everything in float (measured: slower
than fp32), and cost TensorRT nothing: each linear has quantise nodes of its own, since it turns int8 into the uint8
that its kernels take only where nobody else looks at it; and the bias has the rank of the tokens, since it would
otherwise merge MatMul and Add into a Gemm, for which it has no such kernel without a quantised output.

Shape legend: K inputs, N outputs of a linear.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx_ir as ir
from jaxtyping import Float

from worldmodel.export.quantisation.graph_edits import array_of, constant, drop_unused, node_before
from worldmodel.export.quantisation.linears import Linear, given

Kind = Literal["int8", "fp8"]

INT8_LARGEST = 127.0  # symmetric: -128 is not used
FP8_LARGEST = 448.0  # of E4M3 without infinities


@dataclass(frozen=True)
class EightBits:
    """A kind of 8-bit numbers: numpy's type and the largest magnitude in use."""

    dtype: Any
    largest: float

    def stored(self, values: np.ndarray) -> np.ndarray:
        """`values`, in units of the scale, as this type stores them."""
        bounded = np.clip(values, -self.largest, self.largest)
        return (np.rint(bounded) if self.dtype == np.int8 else bounded).astype(self.dtype)


KINDS: dict[Kind, EightBits] = {
    "int8": EightBits(np.int8, INT8_LARGEST),
    "fp8": EightBits(ml_dtypes.float8_e4m3fn, FP8_LARGEST),
}


def insert(model: ir.Model, linears: Sequence[Linear], kind: Kind, largest: Mapping[str, float]) -> dict[str, float]:
    """Quantise these linears; the model is changed.

    Args:
        largest: magnitude at which the input of each linear, by the linear's name, saturates.

    Returns:
        The scale of each linear's input by its name.
    """
    bits, scales = KINDS[kind], {}
    for linear in linears:
        scales[linear.name] = _quantise_input(model.graph, linear, bits, largest[linear.name])
        _quantise_weight(model.graph, linear, bits)
        _raise_bias(model.graph, linear)
    drop_unused(model.graph)
    return scales


def scale_of(largest: Float[np.ndarray, "..."], bits: EightBits, dtype: Any) -> Float[np.ndarray, "..."]:
    """Scales in the graph's own type, never 0, and rounded up so that the largest value still fits."""
    wide = np.asarray(largest, np.float32) / bits.largest
    scale = np.maximum(wide.astype(dtype), ml_dtypes.finfo(dtype).tiny)
    return np.where(scale.astype(np.float32) < wide, np.nextafter(scale, np.asarray(np.inf, dtype)), scale).astype(
        dtype
    )


def _quantise_input(graph: ir.Graph, linear: Linear, bits: EightBits, largest: float) -> float:
    x, name = linear.input, linear.name
    assert x.dtype is not None
    scale = scale_of(np.asarray(largest), bits, x.dtype.numpy())
    parts = [
        constant(graph, f"{name}/input_scale", scale),
        constant(graph, f"{name}/input_zero", np.zeros((), bits.dtype)),
    ]
    quantised = node_before(linear.node, "QuantizeLinear", f"{name}/input_quantised", [x, *parts], like=x)
    quantised.dtype = ir.DataType.from_numpy(np.dtype(bits.dtype))
    rounded = node_before(linear.node, "DequantizeLinear", f"{name}/input_rounded", [quantised, *parts], like=x)
    linear.node.replace_input_with(0, rounded)
    return float(scale)


def _quantise_weight(graph: ir.Graph, linear: Linear, bits: EightBits) -> None:
    old, name = linear.weight, linear.name
    assert old.dtype is not None
    weight_KN = array_of(old).astype(np.float32)
    scale_N = scale_of(np.abs(weight_KN).max(axis=0), bits, old.dtype.numpy())
    stored_KN = bits.stored(weight_KN / scale_N.astype(np.float32))
    parts = [
        constant(graph, f"{name}/weight_quantised", stored_KN),
        constant(graph, f"{name}/weight_scale", scale_N),
        constant(graph, f"{name}/weight_zero", np.zeros(scale_N.shape, bits.dtype)),
    ]
    weight = node_before(linear.node, "DequantizeLinear", f"{name}/weight", parts, like=old, axis=1)
    linear.node.replace_input_with(1, weight)


def _raise_bias(graph: ir.Graph, linear: Linear) -> None:
    """A bias [N] that is added right behind the linear becomes [1, 1, N]: the same sum."""
    output = linear.node.outputs[0]
    for use in list(output.uses()):
        bias = given(use.node, 1 - use.idx) if use.node.op_type == "Add" else None
        if bias is None or not bias.is_initializer() or bias.shape is None or len(bias.shape) != 1:
            continue
        assert output.shape is not None
        raised = array_of(bias).reshape(*[1] * (len(output.shape) - 1), -1)
        use.node.replace_input_with(1 - use.idx, constant(graph, f"{linear.name}/bias", raised))
