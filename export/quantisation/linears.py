"""The linears of an ONNX graph, under the names that their modules have in torch, and which of them stay wide.

Shape legend: K inputs, N outputs of a linear.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir as ir

from worldmodel.errors import InputError

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata that torch's exporter leaves on a node: the modules around it, from the root to the operator itself."""

IN_BLOCK = re.compile(r"(?:^|\.)(?:transformer_)?blocks\.(\d+)\.")
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True, eq=False)
class Linear:
    """`x @ weight` with a constant weight [K, N].

    Attributes:
        name: of the torch module.
        node: the MatMul.
    """

    name: str
    node: ir.Node

    @property
    def input(self) -> ir.Value:
        """What goes in, [..., K]."""
        return given(self.node, 0)

    @property
    def weight(self) -> ir.Value:
        """The initialiser [K, N]."""
        return given(self.node, 1)

    @property
    def block(self) -> int | None:
        """Number of the transformer block, None outside of them."""
        match = IN_BLOCK.search(self.name)
        return int(match[1]) if match else None


def given(node: ir.Node, place: int) -> ir.Value:
    """The input at `place`, which must be there."""
    value = node.inputs[place]
    assert value is not None
    return value


def linears_of(model: ir.Model) -> list[Linear]:
    """All linears of the main graph, in its order."""
    linears = [Linear(module_name(node), node) for node in model.graph if _is_linear(node)]
    names = [linear.name for linear in linears]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"{', '.join(sorted(repeated))}: called more than once in a graph; give one that calls each once"
        )
    return linears


def _is_linear(node: ir.Node) -> bool:
    if node.op_type != "MatMul" or node.domain not in ("", "ai.onnx"):
        return False
    weight = given(node, 1)
    return weight.is_initializer() and weight.dtype in FLOATS and weight.shape is not None and len(weight.shape) == 2


def module_name(node: ir.Node) -> str:
    """Name of the innermost torch module of this node; the node's own name where the exporter left none."""
    scopes: Sequence[str] = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    return next((scope for scope in reversed(scopes[:-1]) if scope), node.name or node.op_type)


def wide_blocks(blocks: int) -> int:
    """How many blocks at either end stay wide: a tenth, rounded down.

    3 of Wan's 30 and 2 of LTX's 28, in the spirit of the three that NVIDIA keeps in deeper models; none of a tiny
    model's four, where one would be half of all weights.
    """
    return blocks // 10


def kept_wide(linears: Sequence[Linear], keep: Iterable[str]) -> dict[str, str]:
    """Names of the linears that are not quantised, each with the reason.

    Args:
        keep: further names, with * and ? as in file names.

    Raises:
        InputError: an entry of `keep` fits no linear.
    """
    ends = wide_blocks(count_blocks(linears))
    reasons = {linear.name: reason for linear in linears if (reason := _reason(linear, count_blocks(linears), ends))}
    for pattern in keep:
        chosen = [linear.name for linear in linears if fnmatchcase(linear.name, pattern)]
        if not chosen:
            raise InputError(f"keep={pattern}: no linear of this graph has such a name; calibration.json lists them")
        reasons |= {name: f"asked for by keep={pattern}" for name in chosen}
    return reasons


def count_blocks(linears: Sequence[Linear]) -> int:
    """Transformer blocks in this graph."""
    return max((linear.block + 1 for linear in linears if linear.block is not None), default=0)


def _reason(linear: Linear, blocks: int, ends: int) -> str | None:
    if linear.block is None:
        return "outside the transformer blocks (embedding or projection)"
    if not ends <= linear.block < blocks - ends:
        return f"among the first or last {ends} of {blocks} blocks"
    if is_constant(linear.input):
        return "its input is constant: computed once, when the engine is built"
    shape = linear.input.shape
    if shape is None or len(shape) < 3:
        return "works on one vector, not on tokens"
    return None


def is_constant(value: ir.Value) -> bool:
    """Whether a value depends on no input of the graph."""
    return not any(ancestor.is_graph_input() for ancestor in _ancestors(value))


def _ancestors(value: ir.Value) -> Iterator[ir.Value]:
    seen: set[ir.Value] = set()
    queue = [value]
    while queue:
        ancestor = queue.pop()
        if ancestor in seen:
            continue
        seen.add(ancestor)
        yield ancestor
        if (producer := ancestor.producer()) is not None:
            queue += [before for before in producer.inputs if before is not None]
