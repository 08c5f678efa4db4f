"""Writing and checking ONNX files, large ones too."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from worldmodel.errors import InputError
from worldmodel.export import onnx_files
from worldmodel.export.onnx_files import check, export_onnx, part_of
from worldmodel.export.runtime.manifest_fields import Part, Port
from worldmodel.files import file_sha256


class Two(nn.Module):
    """A linear on the sum of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Tensor, more: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self.inner(x + more[0]), more[0] * 2


@pytest.mark.parametrize("external", [False, True])
def test_graph_ports_and_weights(tmp_path: Path, external: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL", 0 if external else 1 << 20)
    path, data = tmp_path / "two.onnx", tmp_path / "two.onnx.data"
    data.write_bytes(b"of an earlier export" * 1000)
    module, x = Two(), torch.randn(2, 4)
    part = export_onnx(module, (x, (x + 1,)), path, ["x", "more"], ["y", "twice"])
    ports = [Port("x", "float32", (2, 4)), Port("more", "float32", (2, 4))]
    assert part == Part("two.onnx", tuple(ports), (Port("y", "float32", (2, 3)), Port("twice", "float32", (2, 4))))
    assert data.exists() == external
    if external:
        assert data.stat().st_size < 2**13, "saved behind what was there"
    session = onnxruntime.InferenceSession(str(path))
    found = session.run(None, {"x": x.numpy(), "more": (x + 1).numpy()})
    np.testing.assert_allclose(found[0], module(x, (x + 1,))[0].detach(), rtol=1e-5, atol=1e-6)


def test_nodes_keep_their_modules_and_nothing_of_this_machine(tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    export_onnx(Two(), (x, (x,)), tmp_path / "two.onnx", ["x", "more"], ["y", "twice"])
    model = onnx.load(tmp_path / "two.onnx")
    scopes = [prop.value for node in model.graph.node for prop in node.metadata_props if "name_scopes" in prop.key]
    assert any("inner" in scope for scope in scopes)
    assert {prop.key for node in model.graph.node for prop in node.metadata_props} == {"pkg.torch.onnx.name_scopes"}
    assert str(Path(__file__).parent).encode() not in (tmp_path / "two.onnx").read_bytes()


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    x, module = torch.randn(2, 4), Two()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export_onnx(module, (x, (x,)), tmp_path / name / "two.onnx", ["x", "more"], ["y", "twice"])
    assert file_sha256(tmp_path / "a" / "two.onnx") == file_sha256(tmp_path / "b" / "two.onnx")


def test_mixed_types_are_refused(tmp_path: Path) -> None:
    kinds = {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT16}
    inputs = [helper.make_tensor_value_info(name, kind, [2]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "mixed", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "mixed.onnx")
    with pytest.raises(InputError, match="mixed.onnx: not a valid ONNX graph"):
        check(tmp_path / "mixed.onnx")


def test_free_axes_have_names(tmp_path: Path) -> None:
    batch, x = torch.export.Dim("B"), torch.randn(2, 4)
    export_onnx(nn.Linear(4, 3), (x,), tmp_path / "free.onnx", ["x"], ["y"], {"input": {0: batch}})
    part = part_of(tmp_path / "free.onnx")
    assert part.inputs[0].shape == ("B", 4) and part.outputs[0].shape == ("B", 3)
    session = onnxruntime.InferenceSession(str(tmp_path / "free.onnx"))
    assert session.run(None, {"x": np.zeros((7, 4), np.float32)})[0].shape == (7, 3)


def test_what_cannot_be_free_is_refused(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, 4) if x.shape[0] == 2 else x

    with pytest.raises(InputError, match="dynamic=true: fixed has no graph of free shape"):
        batch = torch.export.Dim("B")
        export_onnx(Fixed(), (torch.randn(2, 4),), tmp_path / "fixed.onnx", ["x"], ["y"], {"x": {0: batch}})
