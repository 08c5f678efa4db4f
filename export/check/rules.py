"""Rules that an ONNX graph must keep so that TensorRT builds it, checked without TensorRT.

Each rule yields findings: sentences with the operator's name in them. How each is known is said at the rule.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from worldmodel.export.check.parsers import Parser

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
# The parser's operators.md lists these types; FP8 and INT8 "only through quantization from a floating-point type".
QUANTISED = (ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1)
TYPES = (*FLOATS, *QUANTISED, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.UINT8)
DEFAULT_DOMAINS = ("", "ai.onnx")

# Operators whose float inputs must agree in type; strong typing refuses e.g. fp16 + fp32 ("ElementWiseOperation SUM
# must ..."), seen with TensorRT-RTX. onnx's plain checker passes it, only its full check refuses.
AGREEING = {
    "Add": (0, 1), "Sub": (0, 1), "Mul": (0, 1), "Div": (0, 1), "Pow": (0, 1), "MatMul": (0, 1), "Gemm": (0, 1, 2),
    "Conv": (0, 1, 2), "ConvTranspose": (0, 1, 2), "Where": (1, 2), "Max": None, "Min": None, "Concat": None,
    "LayerNormalization": (0, 1, 2), "PRelu": (0, 1), "Equal": (0, 1), "Less": (0, 1), "Greater": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or, where not `fatal`, slow).

    Attributes:
        rule: its short name.
        where: the node, or the tensor.
        message: a sentence for people.
    """

    rule: str
    where: str
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def load_graph(path: Path) -> ir.Model:
    """The graph with shapes and types of all values, inferred where the file lacks them; weights stay on disk."""
    return ShapeInferencePass()(ir.load(path)).model


Rule = Callable[[ir.Model, Parser], Iterator[Finding]]


def check_graph(model: ir.Model, parser: Parser) -> list[Finding]:
    """All findings of all rules, the fatal ones first."""
    findings = [finding for rule in RULES for finding in rule(model, parser)]
    return sorted(findings, key=lambda finding: not finding.fatal)


def opset(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Parsers take opsets of a range (see `parsers.py`)."""
    version = next((model.opset_imports[name] for name in DEFAULT_DOMAINS if name in model.opset_imports), 0)
    if not parser.lowest_opset <= version <= parser.highest_opset:
        takes = f"opset {parser.lowest_opset} to {parser.highest_opset}"
        yield Finding("opset", f"opset {version}", f"TensorRT {parser.version} takes {takes} ({parser.how_known})")


def operators(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Only operators of the parser's list; another domain is looked for among plugins ("Plugin not found", seen)."""
    known = parser.operators
    for node in model.graph.all_nodes():
        if node.domain not in DEFAULT_DOMAINS:
            name = f"{node.domain}.{node.op_type}"
            yield Finding("operator", named(node), f"{name} is no ONNX operator: TensorRT would need a plugin for it")
        elif node.op_type not in known:
            yield Finding("operator", named(node), f"TensorRT {parser.version} has no operator {node.op_type}")


def types(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Only types of operators.md; it casts double down to float, so that numbers are no longer what they were."""
    for value in values_of(model):
        if value.dtype is not None and value.dtype not in TYPES:
            yield Finding("type", str(value.name), f"is {value.dtype.name.lower()}, which TensorRT does not compute in")


def uint8_at_the_border(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """operators.md: "UINT8 is only supported as network input or output"; a Cast is next to it on the inside."""
    outputs = set(model.graph.outputs)
    for node in model.graph.all_nodes():
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue  # has a rule of its own
        taken = [value for value in node.inputs if value is not None and value.dtype == ir.DataType.UINT8]
        made = [value for value in node.outputs if value.dtype == ir.DataType.UINT8]
        if taken and (node.op_type != "Cast" or not all(value.is_graph_input() for value in taken)):
            yield Finding(
                "uint8", named(node), f"{node.op_type} computes on uint8; only a Cast of an input may take it"
            )
        elif made and (node.op_type != "Cast" or not outputs.issuperset(made)):
            yield Finding("uint8", named(node), f"{node.op_type} makes uint8; only a Cast to an output may make it")


def agreeing_types(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Operands of one type (see `AGREEING`)."""
    for node in model.graph.all_nodes():
        places = AGREEING.get(node.op_type, ())
        inputs = node.inputs if places is None else [node.inputs[at] for at in places if at < len(node.inputs)]
        dtypes = {value.dtype for value in inputs if value is not None and value.dtype in FLOATS}
        if len(dtypes) > 1:
            mixed = " and ".join(sorted(dtype.name.lower() for dtype in dtypes if dtype is not None))
            yield Finding(
                "mixed types", named(node), f"{node.op_type} of {mixed}: strong typing refuses it; add a Cast"
            )


def quantisation(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """operators.md: zero points must be zero; types int8, fp8 (and 4 bits); scales are constants (NVIDIA's guide)."""
    for node in model.graph.all_nodes():
        if node.op_type == "DynamicQuantizeLinear":
            yield Finding("quantisation", named(node), "DynamicQuantizeLinear: calibrate, TensorRT wants fixed scales")
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
        if scale is None or constant_of(scale) is None or not (constant_of(scale) > 0).all():
            yield Finding("quantisation", named(node), f"{node.op_type} needs a constant scale above 0")
        if zero is not None and zero.dtype not in QUANTISED:
            dtype = zero.dtype.name.lower() if zero.dtype is not None else "an unknown type"
            yield Finding("quantisation", named(node), f"{node.op_type} to {dtype}: TensorRT takes int8 or fp8")
        elif zero is not None and (constant_of(zero) is None or np.any(constant_of(zero).astype(np.float32))):
            yield Finding(
                "quantisation", named(node), f"{node.op_type} with a zero point: TensorRT is symmetric, it must be 0"
            )


def attributes(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Restrictions that operators.md writes beside single operators of ours."""
    for node in model.graph.all_nodes():
        restriction = _restricted(node)
        if restriction:
            yield Finding("attribute", named(node), f"{node.op_type} {restriction}")


def _restricted(node: ir.Node) -> str | None:
    if node.op_type == "Resize":
        if _text(node, "mode", "nearest") not in ("nearest", "linear"):
            return f"with mode={_text(node, 'mode', '')}: TensorRT resizes nearest or linear"
        if node.attributes.get_int("antialias", 0):
            return "with antialias: TensorRT has none"
    if node.op_type == "ScatterND" and _text(node, "reduction", "none") != "none":
        return f"with reduction={_text(node, 'reduction', '')}: TensorRT has none"
    if (
        node.op_type == "LayerNormalization"
        and len([output for output in node.outputs if output.name and output.uses()]) > 1
    ):
        return "with mean or deviation as outputs: TensorRT has the first output only"
    if node.op_type.startswith("Reduce") and len(node.inputs) > 1:
        axes = node.inputs[1]
        if axes is not None and constant_of(axes) is None:
            return "with computed axes: TensorRT wants an initialiser"
    return None


def attention_in_float32(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Seen with TensorRT-RTX 1.7.1: "not supported by a dedicated kernel", and the parser cannot decompose it."""
    for node in model.graph.all_nodes():
        first = node.inputs[0] if node.inputs else None
        if node.op_type == "Attention" and first is not None and first.dtype == ir.DataType.FLOAT:
            yield Finding("attention", named(node), "Attention in fp32 has no kernel; export at opset 20, or in fp16")


def unfused(model: ir.Model, parser: Parser) -> Iterator[Finding]:
    """Scattering and gathering by index end TensorRT's fusion of a region (NVIDIA's forum; not measured here)."""
    for op in ("ScatterND", "GatherND", "ScatterElements"):
        count = sum(node.op_type == op for node in model.graph.all_nodes())
        if count:
            yield Finding("fusion", op, f"{count} x {op}: builds, but TensorRT cannot fuse across it", fatal=False)


RULES: tuple[Rule, ...] = (
    opset, operators, types, uint8_at_the_border, agreeing_types, quantisation, attributes, attention_in_float32,
    unfused,
)  # fmt: skip


def named(node: ir.Node) -> str:
    """A node's name and operator, as a person finds it in the graph."""
    return f"{node.name or 'a node without name'} ({node.op_type})"


def values_of(model: ir.Model) -> Iterable[ir.Value]:
    """Inputs, initialisers and all that nodes put out."""
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in model.graph.all_nodes():
        yield from node.outputs


def constant_of(value: ir.Value) -> Any:
    """Content of an initialiser or of a Constant, None for what is computed."""
    content = ir.convenience.get_const_tensor(value)
    return None if content is None else np.asarray(content.numpy())


def _text(node: ir.Node, name: str, default: str) -> str:
    return node.attributes.get_string(name, default) or default
