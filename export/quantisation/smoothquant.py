"""SmoothQuant: activations are divided per channel, weights multiplied by the same, so that outliers are shared.

    y = (x / s) @ (s * W)        s_k = max|x_k| ** alpha / max|W_k| ** (1 - alpha), its geometric mean set to 1

The division is folded into what makes x (a norm's weight and bias, the modulation of adaptive norms, the values of an
attention), which is exact but for rounding and computes nothing. Where x comes out of a GELU or is the residual stream
it cannot be folded, and x is multiplied by 1 / s in a node of its own. Source: SmoothQuant (Xiao et al. 2023).

Shape legend: K channels of x, N outputs of a linear; R rows, T tokens, H heads, E width of a head (H * E = K).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from jaxtyping import Float32

from worldmodel.export.quantisation.graph_edits import array_of, constant, node_before
from worldmodel.export.quantisation.linears import Linear, given

Factors = Float32[np.ndarray, " K"]

SMALL = 8
"""A tensor that holds so many times fewer numbers than x may be divided by a node of its own."""


FOLDED = "folded"


class Unfoldable(Exception):
    """Why a division cannot be folded."""


@dataclass(frozen=True)
class Edge:
    """One input of one node."""

    node: ir.Node
    place: int

    @property
    def value(self) -> ir.Value:
        """What it carries."""
        return given(self.node, self.place)


@dataclass(frozen=True)
class Group:
    """The linears that take the same input."""

    input: ir.Value
    linears: tuple[Linear, ...]

    def factors(self, largest_K: np.ndarray, alpha: float) -> Factors:
        """s of the formula above; 1 for a channel in which activations or weights are all zero."""
        weights_K = np.max(
            [np.abs(array_of(linear.weight).astype(np.float32)).max(1) for linear in self.linears], axis=0
        )
        dead_K = (largest_K <= 0) | (weights_K <= 0)
        logs_K = alpha * np.log(np.where(dead_K, 1, largest_K)) - (1 - alpha) * np.log(np.where(dead_K, 1, weights_K))
        alive = logs_K[~dead_K]
        centred_K = np.where(dead_K, 0.0, logs_K - (alive.mean() if alive.size else 0.0))
        return np.exp(centred_K).astype(np.float32)


def groups_of(linears: Iterable[Linear]) -> list[Group]:
    """Linears by their input."""
    by_input: dict[ir.Value, list[Linear]] = {}
    for linear in linears:
        by_input.setdefault(linear.input, []).append(linear)
    return [Group(value, tuple(members)) for value, members in by_input.items()]


def smooth(
    model: ir.Model, linears: Sequence[Linear], chosen: set[str], largest: Mapping[str, np.ndarray], alpha: float
) -> tuple[dict[str, Factors], dict[str, str]]:
    """Smooth the inputs of the linears named in `chosen`; the graph is changed and computes what it did before.

    Args:
        linears: all of the graph.
        largest: abs-max per channel [K] by the name of each input.

    Returns:
        The factors by the name of each smoothed input, and for each chosen linear how: "folded", or why it takes a
        node of its own.
    """
    factors: dict[str, Factors] = {}
    how: dict[str, str] = {}
    for group in groups_of(linears):
        wanted = [linear for linear in group.linears if linear.name in chosen]
        if not wanted:
            continue
        tensor = str(group.input.name)
        factors[tensor] = group.factors(largest[tensor], alpha)
        try:
            _fold(model.graph, group, factors[tensor])
        except Unfoldable as reason:
            _divide_apart(model.graph, wanted, factors[tensor])
            how |= dict.fromkeys((linear.name for linear in wanted), f"by a node of its own: {reason}")
        else:
            how |= dict.fromkeys((linear.name for linear in wanted), FOLDED)
    return factors, how


def _divide_apart(graph: ir.Graph, linears: Sequence[Linear], s_K: Factors) -> None:
    """One division in front of the first of these linears, whose quotient all of them take."""
    first = Edge(linears[0].node, 0)
    _divide_on_edge(graph, first, s_K)
    for linear in linears:
        linear.node.replace_input_with(0, first.value)
    _multiply_weights(graph, linears, s_K)


def _multiply_weights(graph: ir.Graph, linears: Iterable[Linear], s_K: Factors) -> None:
    for linear in linears:
        _exchange(graph, Edge(linear.node, 1), array_of(linear.weight).astype(np.float32) * s_K[:, None])


def _fold(graph: ir.Graph, group: Group, s_K: Factors) -> None:
    """All or nothing: what is to be done is collected first, and a refusal leaves the graph as it was."""
    linear_edges = {(linear.node, 0) for linear in group.linears}
    if any((use.node, use.idx) not in linear_edges for use in group.input.uses()) or group.input.is_graph_output():
        raise Unfoldable("others than linears take the same input (residual stream)")
    edits = _divisions(graph, group.input, s_K, size_of(group.input) / SMALL)
    for edit in edits:
        edit()
    _multiply_weights(graph, group.linears, s_K)


Edits = list[Callable[[], None]]


def _divisions(graph: ir.Graph, value: ir.Value, s_K: Factors, small: float) -> Edits:
    """How to divide what `value`'s producer puts out."""
    node = value.producer()
    if node is None:
        raise Unfoldable("its input is an input of the graph")
    if node.op_type == "Cast":
        return _edge(graph, Edge(node, 0), s_K, small)
    if node.op_type in ("Add", "Sub"):
        return _edge(graph, Edge(node, 0), s_K, small) + _edge(graph, Edge(node, 1), s_K, small)
    if node.op_type == "Mul":
        return _cheaper_factor(graph, node, s_K, small)
    if node.op_type == "LayerNormalization" and len(node.inputs) == 3:
        return _constants(graph, [Edge(node, 1), Edge(node, 2)], s_K)
    if node.op_type == "MatMul" and given(node, 1).is_initializer():
        return _constants(graph, [Edge(node, 1)], s_K)
    if node.op_type == "Reshape":
        return _attention_values(graph, node, s_K, small)
    raise Unfoldable(f"its input comes out of {node.op_type}")


def _cheaper_factor(graph: ir.Graph, node: ir.Node, s_K: Factors, small: float) -> Edits:
    """Dividing one factor divides the product; a constant one costs nothing."""
    edges = sorted(
        (Edge(node, 0), Edge(node, 1)), key=lambda edge: (not edge.value.is_initializer(), size_of(edge.value))
    )
    reasons = []
    for edge in edges:
        try:
            return _edge(graph, edge, s_K, small)
        except Unfoldable as reason:
            reasons.append(str(reason))
    raise Unfoldable(reasons[-1])


def _edge(graph: ir.Graph, edge: Edge, s_K: Factors, small: float) -> Edits:
    """How to divide what one edge carries, whoever else takes the same value."""
    value = edge.value
    if value.is_initializer():
        return _constants(graph, [edge], s_K)
    if size_of(value) <= small and value.shape is not None and value.shape[-1] in (1, len(s_K)):
        return [lambda: _divide_on_edge(graph, edge, s_K)]
    if len(value.uses()) > 1 or value.is_graph_output():
        raise Unfoldable(f"{value.name}, from which its input is made, is used elsewhere too")
    return _divisions(graph, value, s_K, small)


def _constants(graph: ir.Graph, edges: Sequence[Edge], s_K: Factors) -> Edits:
    for edge in edges:
        shape = edge.value.shape
        if not edge.value.is_initializer() or (shape is not None and len(shape) and shape[-1] not in (1, len(s_K))):
            raise Unfoldable(f"{edge.node.op_type} in front of it has no constant weights of its width")

    def divide(edge: Edge) -> None:
        _exchange(graph, edge, array_of(edge.value).astype(np.float32) / s_K)

    return [lambda edge=edge: divide(edge) for edge in edges]  # type: ignore[misc]


def _attention_values(graph: ir.Graph, reshape: ir.Node, s_K: Factors, small: float) -> Edits:
    """Input of an output projection: the heads of softmax(q k) @ v side by side; so v is divided, head by head."""
    turned = given(reshape, 0).producer()
    product = given(turned, 0).producer() if turned is not None and _swaps_heads(turned) else None
    values = given(product, 1) if product is not None and product.op_type == "MatMul" else None
    shape = None if values is None or values.shape is None else [*values.shape]
    if product is None or values is None or shape is None or len(shape) != 4 or shape[1] * shape[3] != len(s_K):
        raise Unfoldable("its input comes out of Reshape")
    if len(given(reshape, 0).uses()) > 1 or len(given(turned, 0).uses()) > 1:  # type: ignore[arg-type]
        raise Unfoldable("the attention in front of it is used elsewhere too")
    heads_H1E = s_K.reshape(int(shape[1]), 1, int(shape[3]))
    if values.is_initializer():
        edge = Edge(product, 1)
        return [lambda: _exchange(graph, edge, array_of(edge.value).astype(np.float32) / heads_H1E)]
    return _split_values(graph, values, s_K, small)


def _split_values(graph: ir.Graph, values: ir.Value, s_K: Factors, small: float) -> Edits:
    """v [R, H, T, E] is a projection [R, T, K] split into heads: that projection is divided."""
    used = [values]
    swapped = values.producer()
    while swapped is not None and swapped.op_type == "Cast":
        used.append(given(swapped, 0))
        swapped = used[-1].producer()
    split = given(swapped, 0).producer() if swapped is not None and _swaps_heads(swapped) else None
    if swapped is None or split is None or split.op_type != "Reshape":
        raise Unfoldable("the values of the attention in front of it are not a plain projection")
    used += [given(swapped, 0), given(split, 0)]
    if any(len(value.uses()) > 1 for value in used) or used[-1].shape is None or used[-1].shape[-1] != len(s_K):
        raise Unfoldable("the values of the attention in front of it are used elsewhere too")
    return _edge(graph, Edge(split, 0), s_K, small)


def _swaps_heads(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 2, 1, 3]


def _divide_on_edge(graph: ir.Graph, edge: Edge, s_K: Factors) -> None:
    value = edge.value
    inverse = constant(graph, f"{value.name}/smoothing", (1 / s_K).astype(value.dtype.numpy()))  # type: ignore[union-attr]
    name = f"{value.name}/smoothed/{edge.node.name}/{edge.place}"
    smoothed = node_before(edge.node, "Mul", name, [value, inverse], like=value)
    smoothed.shape = ir.Shape([*value.shape[:-1], len(s_K)])  # type: ignore[index]
    edge.node.replace_input_with(edge.place, smoothed)


def _exchange(graph: ir.Graph, edge: Edge, wide: np.ndarray) -> None:
    """Another constant on this edge, in the old one's type; other users of the old one keep it."""
    old = edge.value
    assert old.dtype is not None
    edge.node.replace_input_with(edge.place, constant(graph, f"{old.name}/smoothed", wide.astype(old.dtype.numpy())))
    if not old.uses():
        del graph.initializers[str(old.name)]


def size_of(value: ir.Value) -> float:
    """How many numbers a value holds; free axes (clips, tokens) count as many."""
    if value.shape is None:
        return math.inf
    return float(math.prod(axis if isinstance(axis, int) else 4096 for axis in value.shape))
