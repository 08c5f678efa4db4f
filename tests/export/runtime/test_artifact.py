"""Files are checked before they are used: what is tampered with, missing or of another kind runs nothing."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_artifact as small
from onnx import TensorProto, helper

from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.onnx_header import opset_of
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.files import file_sha256


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "artifact"
    small.write_artifact(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "artifact"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_opset(path: Path) -> None:
    """Save the graph with opset 19, and a manifest whose sha256 fit."""
    model = onnx.load(path)
    model.opset_import[0].version = 19
    path.write_bytes(model.SerializeToString())
    manifest = Manifest.read(path.parent)
    replace(manifest, files={**manifest.files, path.name: file_sha256(path)}).write(path.parent)


BREAKS: list[tuple[str, Callable[[Path], None], str]] = [
    ("encoder.onnx", flip_a_bit, "altered or incomplete"),
    ("step.onnx", Path.unlink, "missing; copy or export the artifact again"),
    ("step.onnx.data", flip_a_bit, "altered or incomplete"),
    ("step.onnx.data", Path.unlink, "missing"),
    ("decoder.onnx", lambda path: path.write_bytes(path.read_bytes()[:-1]), "altered or incomplete"),
    ("decoder.onnx", other_opset, "opset 19, its manifest says 20"),
    ("manifest.json", flip_a_bit, "export the artifact again"),
    ("manifest.json", Path.unlink, "no such file; give the folder that `worldmodel export` wrote"),
]


@pytest.mark.parametrize(("name", "harm", "said"), BREAKS, ids=[f"{name} {said}" for name, _, said in BREAKS])
def test_a_harmed_artifact_is_refused_in_one_line(
    folder: Path, name: str, harm: Callable[[Path], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(folder / name)
    place = folder.parent
    before = sorted(place.rglob("*"))
    status = main(["export", "run", str(folder), "a.mp4", "b.mp4", str(place / "out.npy")])
    shown = capsys.readouterr()
    assert (status, shown.out, shown.err.count("\n")) == (2, "", 1) and shown.err.startswith(f"error: {folder / name}")
    assert said in shown.err and sorted(place.rglob("*")) == before


def test_a_whole_artifact_is_not_refused(folder: Path) -> None:
    Artifact.open(folder, prompt_sha256=small.SHA).onnx_files(("encoder", "step", "decoder"))


def test_another_prompt_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="its prompt has sha256 abababababab…, not cdcdcdcdcdcd… as expected; export"):
        Artifact.open(folder, prompt_sha256="cd" * 32)


@pytest.mark.parametrize(
    "video",
    [
        small.drive().astype(np.float32),
        small.drive()[:, :8],
        small.drive()[:1],
        small.drive()[0],
        small.drive()[..., :2],
        np.moveaxis(small.drive(), -1, 2),
    ],
    ids=lambda video: f"{video.dtype}{video.shape}",
)
def test_frames_of_another_shape_or_dtype_run_nothing(folder: Path, video: np.ndarray) -> None:
    predictor = Predictor.open(folder, threads=1)
    with pytest.raises(InputError, match=r"video of .*: this artifact takes uint8 \[2, 9, 16, 24, 3\] \(cameras, fra"):
        predictor.chunks(video, 1)
    assert not predictor.calls


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((1, 9, 16, 24, 3), True),
        ((3, 1, 8, 40, 3), True),
        ((1, 8, 16, 24, 3), False),
        ((1, 9, 12, 24, 3), False),
        ((1, 9, 16, 24, 4), False),
        ((0, 9, 16, 24, 3), False),
    ],
)
def test_a_dynamic_artifact_takes_whole_numbers_of_latents(made: Path, shape: tuple[int, ...], fits: bool) -> None:
    artifact = Artifact(made, replace(Manifest.read(made), dynamic=True))
    if fits:
        artifact.check_video(np.zeros(shape, np.uint8))
    else:
        with pytest.raises(InputError, match="video of uint8"):
            artifact.check_video(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("opset", [17, 20])
def test_the_opset_is_the_one_that_onnx_reads(tmp_path: Path, opset: int) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [200])
    heavy = helper.make_tensor("w", TensorProto.FLOAT, [200], np.arange(200.0))
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["x"])], "g" * 300, [], [value], [heavy])
    imports = [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    assert opset_of(tmp_path / "model.onnx") == opset


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08", b"\x42\x7f\x00", b"\xff" * 40, b"\x08\x0a"])
def test_what_is_no_onnx_model_has_no_opset(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match="not an ONNX model; export the artifact again"):
        opset_of(tmp_path / "model.onnx")
