"""Small edits of an ONNX graph: constants, nodes on one edge, and taking away what nothing uses any more."""

from typing import Any

import numpy as np
import onnx_ir as ir


def constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initialiser; a number is put behind a name that is taken."""
    unused = name
    number = 1
    while unused in graph.initializers:
        number += 1
        unused = f"{name}_{number}"
    value = ir.val(unused, const_value=ir.tensor(array, name=unused))
    graph.register_initializer(value)
    return value


def node_before(
    user: ir.Node, op: str, name: str, inputs: list[ir.Value], like: ir.Value, **attributes: Any
) -> ir.Value:
    """The output, of the shape of `like`, of a new node in front of `user`, which keeps the metadata of that node."""
    node = ir.node(op, inputs=inputs, attributes=attributes, outputs=[ir.Value(name=name)], name=name)
    node.metadata_props.update(user.metadata_props)
    output = node.outputs[0]
    assert like.dtype is not None
    output.shape, output.type = like.shape, ir.TensorType(like.dtype)
    graph = user.graph
    assert graph is not None
    graph.insert_before(user, node)
    return output


def array_of(value: ir.Value) -> np.ndarray:
    """Content of an initialiser."""
    content = value.const_value
    assert content is not None
    return np.asarray(content.numpy())


def drop_unused(graph: ir.Graph) -> None:
    """Initialisers that no node takes any more are removed, and with them their weights from the file."""
    outputs = set(graph.outputs)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in outputs:
            del graph.initializers[name]
