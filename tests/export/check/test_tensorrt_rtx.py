"""NVIDIA's parser and builder on this CPU: every graph of every family, and what they refuse."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from worldmodel.errors import InputError
from worldmodel.export.check import tensorrt_rtx
from worldmodel.export.check.targets import TARGETS
from worldmodel.export.check.verb import CheckConfig, check
from worldmodel.export.quantisation import quantise

MakeArtifact = Callable[..., Path]
pytestmark = pytest.mark.trt
AMPERE, BLACKWELL = TARGETS["orin"].stand_in, TARGETS["thor"].stand_in


def write(path: Path, body: str, opset: str = '"" : 20') -> Path:
    text = f"<ir_version: 10, opset_import: [{opset}]>\ng (float[4,4] x) => (float[4,4] y) {{ {body} }}"
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


@pytest.mark.parametrize("family", ["tiny", "ltx", "wan"])
def test_every_graph_builds_in_fp16(artifact: MakeArtifact, family: str) -> None:
    reports = check(CheckConfig(str(artifact(family, "fp16")), "orin", build=True))
    assert [report.part for report in reports] == ["encoder", "step", "decoder"]
    assert all(report.built is not None and report.built.bytes > 1000 for report in reports)


@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_steps_in_eight_bits_build_where_the_chip_has_them(artifact: MakeArtifact, family: str, tmp_path: Path) -> None:
    step = artifact(family, "fp16") / "step.onnx"
    shape = [axis.dim_value for axis in onnx.load(str(step)).graph.input[0].type.tensor_type.shape.dim]
    latents = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    samples = [{"latents": latents, "sigma": np.ones(1, np.float32)}]
    for kind in ("int8", "fp8"):
        quantise(step, tmp_path / f"{kind}.onnx", kind, samples, alpha=0.5)
    assert tensorrt_rtx.build(tmp_path / "int8.onnx", AMPERE).bytes > 1000
    assert tensorrt_rtx.build(tmp_path / "fp8.onnx", BLACKWELL).bytes > 1000
    with pytest.raises(InputError, match="fp8"):
        tensorrt_rtx.build(tmp_path / "fp8.onnx", AMPERE)


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
