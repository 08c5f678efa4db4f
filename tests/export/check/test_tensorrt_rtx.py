"""NVIDIA's parser and builder on this CPU: every graph of every family, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from export_models import FAMILIES

from worldmodel.cli.commands.export_check import CheckConfig, check
from worldmodel.errors import InputError
from worldmodel.export.check import tensorrt_rtx
from worldmodel.export.check.targets import TARGETS, TargetName
from worldmodel.export.quantisation import QuantisationOptions, quantise
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision
from worldmodel.files import file_sha256

MakeArtifact = Callable[..., Path]
pytestmark = pytest.mark.trt
AMPERE, BLACKWELL = TARGETS["orin"].stand_in, TARGETS["thor"].stand_in


def write(path: Path, body: str, opset: str = '"" : 20') -> Path:
    text = f"<ir_version: 10, opset_import: [{opset}]>\ng (float[4,4] x) => (float[4,4] y) {{ {body} }}"
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def built_parts(folder: Path, target: TargetName = "orin") -> list[str]:
    """The parts of an artifact, all of which must build."""
    reports = check(CheckConfig(str(folder), target, build=True))
    assert all(report.built is not None and report.built.bytes > 1000 for report in reports)
    return [report.part for report in reports]


def linked(folder: Path, place: Path) -> Manifest:
    """A second artifact with the same files, one of which a test writes anew."""
    manifest = Manifest.read(folder)
    for name in manifest.files:
        (place / name).symlink_to(folder / name)
    return manifest


@pytest.mark.parametrize("family", FAMILIES)
def test_every_graph_builds_in_fp16(artifact: MakeArtifact, family: str) -> None:
    assert built_parts(artifact(family, "fp16")) == ["encoder", "step", "decoder"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_graph_builds_in_int8(int8_artifact: Callable[[str], Path], family: str) -> None:
    """With the file that holds the loop as well."""
    folder = int8_artifact(family)
    stored = onnx.load(str(folder / "step.onnx"), load_external_data=False).graph.initializer
    assert any(one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 2 for one in stored), "weights in 8 bits"
    assert built_parts(folder) == ["encoder", "step", "decoder", "single"]


@pytest.mark.parametrize("family", ["ltx", "wan"])  # tiny's classes are those of ltx
def test_every_graph_builds_with_a_step_in_fp8_for_a_chip_that_has_it(
    artifact: MakeArtifact, family: str, tmp_path: Path
) -> None:
    manifest = linked(artifact(family, "fp16"), tmp_path)
    step = (tmp_path / "step.onnx").resolve()
    (tmp_path / "step.onnx").unlink()
    (tmp_path / "step.onnx.data").unlink(missing_ok=True)
    normal = np.random.default_rng(0).standard_normal
    latents = normal((manifest.cameras, *manifest.latents), np.float32)
    samples = [{"latents": latents, "sigma": np.ones(1, np.float32)}]
    quantise(step, tmp_path / "step.onnx", "fp8", samples, QuantisationOptions(alpha=0.5))
    files = {path.name: file_sha256(path) for path in tmp_path.iterdir()}
    replace(manifest, files=files, precision=Precision("fp16", "fp8", "fp16")).write(tmp_path)
    assert built_parts(tmp_path, "thor") == ["encoder", "step", "decoder"]
    with pytest.raises(InputError, match="fp8"):
        tensorrt_rtx.build(tmp_path / "step.onnx", AMPERE)


def test_the_streaming_pair_builds_in_fp16(artifact: MakeArtifact) -> None:
    folder = artifact("wan", "fp16", wan_decoder="stream")
    assert built_parts(folder) == ["encoder", "step", "decoder_first", "decoder_next"]


def test_an_unsupported_operator_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "det.onnx", "d = Det(x)  y = Add(x, d)")
    with pytest.raises(InputError, match="det.onnx: operator Det"):
        tensorrt_rtx.build(path, AMPERE)
    path = write(tmp_path / "own.onnx", "y = com.example.FastGelu(x)", '"" : 20, "com.example" : 1')
    with pytest.raises(InputError, match="FastGelu"):
        tensorrt_rtx.build(path, AMPERE)


def test_mixed_types_are_refused_as_the_rule_says(tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.onnx", "h = Cast<to = 10>(x)  y = Add(h, x)")
    with pytest.raises(InputError, match="mixed.onnx"):
        tensorrt_rtx.build(path, AMPERE)


def test_a_sound_graph_builds_and_its_plan_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "sound.onnx", "y = Relu(x)")
    built = tensorrt_rtx.build(path, AMPERE)
    assert built.seconds > 0 and built.bytes > 100 and built.peak_memory_mb > 10
    assert [file.name for file in tmp_path.iterdir()] == ["sound.onnx"]
