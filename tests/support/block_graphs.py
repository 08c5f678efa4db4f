"""A residual network as an ONNX graph in milliseconds: LayerNorm, linear, GELU, linear in each block, an embedding
before and a projection behind, named as torch's exporter names modules.

Shape legend: T tokens, W width, H hidden width.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SCOPES = "pkg.torch.onnx.name_scopes"
T = 24


class Blocks:
    """The graph as numpy weights; `save` writes it. `loud` channels come out of each norm a hundred times larger."""

    def __init__(self, blocks: int = 4, width: int = 32, hidden: int = 64, loud: int = 0, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.blocks, self.width, self.hidden = blocks, width, hidden
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.value = self.linear("latents", "embed", width, width)
        for block in range(blocks):
            self.value = self.block(self.value, f"blocks.{block}", loud)
        self.nodes[-1].output[0] = "last"
        self.value = self.linear("last", "proj_out", width, width)
        self.nodes[-1].output[0] = "velocity"

    def normal(self, *shape: int) -> np.ndarray:
        return (self.rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    def node(self, op: str, inputs: list[str], name: str, scope: str, **attributes: object) -> str:
        made = helper.make_node(op, inputs, [name], name=name, **attributes)
        made.metadata_props.add(key=SCOPES, value=repr(["", "net", f"net.{scope}", name]))
        self.nodes.append(made)
        return name

    def linear(self, x: str, scope: str, inputs: int, outputs: int) -> str:
        self.constants[f"{scope}.w"] = self.normal(inputs, outputs)
        self.constants[f"{scope}.b"] = self.normal(outputs)
        product = self.node("MatMul", [x, f"{scope}.w"], f"{scope}/product", scope)
        return self.node("Add", [product, f"{scope}.b"], f"{scope}/sum", scope)

    def block(self, x: str, scope: str, loud: int) -> str:
        gain = np.ones(self.width, np.float32)
        gain[:loud] = 100
        self.constants |= {f"{scope}.gain": gain, f"{scope}.shift": self.normal(self.width)}
        normed = self.node("LayerNormalization", [x, f"{scope}.gain", f"{scope}.shift"], f"{scope}/normed", scope)
        hidden = self.linear(normed, f"{scope}.up", self.width, self.hidden)
        if loud:  # a network that was trained: loud channels have small weights
            self.constants[f"{scope}.up.w"][:loud] /= 100
        bent = self.node("Gelu", [hidden], f"{scope}/gelu", scope)
        added = self.linear(bent, f"{scope}.down", self.hidden, self.width)
        return self.node("Add", [x, added], f"{scope}/out", scope)

    def save(self, path: Path) -> Path:
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, T, self.width])
            for name in ("latents", "velocity")
        ]
        weights = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "blocks", values[:1], values[1:], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
        return path

    def samples(self, count: int = 3) -> list[dict[str, np.ndarray]]:
        return [{"latents": self.rng.normal(size=(1, T, self.width)).astype(np.float32)} for _ in range(count)]
