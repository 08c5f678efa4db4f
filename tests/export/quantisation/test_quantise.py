"""8-bit graphs against the graphs that they were made from, run by ONNX Runtime."""

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from block_graphs import Blocks

from worldmodel.errors import InputError
from worldmodel.export.quantisation import QuantisationOptions, quantise
from worldmodel.export.runtime.sessions import open_session, session_options

StepFile = Callable[..., Path]
Samples = list[dict[str, np.ndarray]]


def session(path: Path, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    options = session_options()
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return open_session(path, options)


def difference(path: Path, reference: Path, samples: Samples) -> float:
    """Relative L2 over all samples."""
    one, other = session(path), session(reference)
    pairs = [(one.run(None, sample)[0], other.run(None, sample)[0]) for sample in samples]
    found, expected = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path)).graph.node]


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("family", ["tiny", "ltx", "wan"])
def test_velocity_of_a_transformer(
    step_file: StepFile, samples_for: Callable[..., Samples], family: str, kind: str, tmp_path: Path
) -> None:
    step, out = step_file(family), tmp_path / "step.onnx"
    record = quantise(step, out, kind, samples_for(step, 5, 0))  # type: ignore[arg-type]
    found = difference(out, step, samples_for(step, 3, 1))
    assert 1e-4 < found <= 3e-2  # below: nothing was quantised
    inside = [name for name in record.layers if "blocks." in name]
    assert record.quantised == inside and len(inside) >= 12
    assert operators(out).count("QuantizeLinear") == len(inside)
    assert operators(out).count("DequantizeLinear") == 2 * len(inside)


def test_half_precision_around_it(step_file: StepFile, samples_for: Callable[..., Samples], tmp_path: Path) -> None:
    step = step_file("wan", "fp16")
    record = quantise(step, tmp_path / "int8.onnx", "int8", samples_for(step, 3, 0), QuantisationOptions(alpha=0.5))
    assert difference(tmp_path / "int8.onnx", step_file("wan"), samples_for(step, 3, 1)) <= 3e-2
    assert {layer.smoothing for layer in record.layers.values()} >= {"folded"}
    scales = [one for one in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer if one.name.endswith("_scale")]
    assert {one.data_type for one in scales} == {onnx.TensorProto.FLOAT16}


def test_one_linear_is_the_integer_product_by_hand(tmp_path: Path) -> None:
    blocks = Blocks(blocks=1)
    path, samples = blocks.save(tmp_path / "wide.onnx"), blocks.samples(2)
    record = quantise(path, tmp_path / "int8.onnx", "int8", samples, QuantisationOptions(("*down",)))
    assert record.quantised == ["net.blocks.0.up"]
    layer = record.layers["net.blocks.0.up"]
    wide = onnx.load(str(path))
    for value in ("blocks.0/normed", "blocks.0.up/sum"):
        wide.graph.output.append(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None))
    onnx.save(wide, str(tmp_path / "seen.onnx"))
    x, exact = session(tmp_path / "seen.onnx").run(["blocks.0/normed", "blocks.0.up/sum"], samples[0])
    weight, bias = blocks.constants["blocks.0.up.w"], blocks.constants["blocks.0.up.b"]
    scale = np.float32(layer.input_scale)
    assert scale == pytest.approx(layer.input_largest / 127)
    columns = np.abs(weight).max(0) / 127
    integers = np.clip(np.rint(x / scale), -127, 127).astype(np.int64) @ np.rint(weight / columns).astype(np.int64)
    narrow = onnx.load(str(tmp_path / "int8.onnx"))
    narrow.graph.output.append(onnx.helper.make_tensor_value_info("blocks.0.up/sum", onnx.TensorProto.FLOAT, None))
    onnx.save(narrow, str(tmp_path / "narrow.onnx"))
    found = session(tmp_path / "narrow.onnx").run(["blocks.0.up/sum"], samples[0])[0]
    np.testing.assert_allclose(found, integers * (scale * columns) + bias, atol=2e-5)
    assert 1e-4 < np.abs(found - exact).max() < 0.1


def test_file_is_at_least_three_times_smaller(tmp_path: Path) -> None:
    blocks = Blocks(blocks=4, width=128, hidden=512)
    path = blocks.save(tmp_path / "wide.onnx")
    for kind in ("int8", "fp8"):
        record = quantise(path, tmp_path / "small.onnx", kind, blocks.samples())  # type: ignore[arg-type]
        assert path.stat().st_size >= 3 * (tmp_path / "small.onnx").stat().st_size
        assert (record.bytes_before, record.bytes_after) == (
            path.stat().st_size,
            (tmp_path / "small.onnx").stat().st_size,
        )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of x86-64 are meant")
@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_every_linear_runs_in_integers_on_a_cpu(
    step_file: StepFile, samples_for: Callable[..., Samples], family: str, tmp_path: Path
) -> None:
    step = step_file(family)
    record = quantise(step, tmp_path / "int8.onnx", "int8", samples_for(step, 2, 0))
    session(tmp_path / "int8.onnx", tmp_path / "optimised.onnx")
    kernels = operators(tmp_path / "optimised.onnx")
    assert kernels.count("MatMulIntegerToFloat") == len(record.quantised)
    assert "DequantizeLinear" not in kernels  # a weight that was turned back into floats


def test_first_and_last_blocks_and_what_lies_outside_stay_wide(tmp_path: Path) -> None:
    blocks = Blocks(blocks=30, width=8, hidden=8)
    path = blocks.save(tmp_path / "wide.onnx")
    record = quantise(path, tmp_path / "int8.onnx", "int8", blocks.samples(1), QuantisationOptions(("*.blocks.7.*",)))
    wide = {name: layer.why_not for name, layer in record.layers.items() if not layer.quantised}
    expected = {f"net.blocks.{block}.{part}" for block in (0, 1, 2, 7, 27, 28, 29) for part in ("up", "down")}
    assert set(wide) == expected | {"net.embed", "net.proj_out"}
    assert wide["net.blocks.2.up"] == "among the first or last 3 of 30 blocks"
    assert wide["net.blocks.7.up"] == "asked for by keep=*.blocks.7.*"
    assert (record.blocks, record.wide_blocks) == (30, 3)


def test_linears_that_would_be_rounded_coarsely_stay_wide(tmp_path: Path) -> None:
    blocks = Blocks(loud=1, hidden=256)
    path, samples = blocks.save(tmp_path / "wide.onnx"), blocks.samples(4)
    free = quantise(path, tmp_path / "all.onnx", "int8", samples)
    exact = QuantisationOptions(rounding=0.02)
    kept = quantise(path, tmp_path / "some.onnx", "int8", samples, exact)
    wide = {name: layer.why_not for name, layer in kept.layers.items() if name in free.quantised and layer.why_not}
    assert 0 < len(wide) < len(free.quantised)
    assert all(reason.startswith("8 bits would round its input by ") for reason in wide.values())
    fewer = quantise(path, tmp_path / "smooth.onnx", "int8", samples, replace(exact, alpha=0.8))
    assert set(fewer.quantised) > set(kept.quantised), "smoothing takes the outliers away"
    assert quantise(path, tmp_path / "fp8.onnx", "fp8", samples, exact).quantised == free.quantised


def test_record_is_json_that_says_what_was_done(tmp_path: Path) -> None:
    blocks = Blocks()
    path = blocks.save(tmp_path / "wide.onnx")
    options = QuantisationOptions(alpha=0.5, percentile=99.9)
    record = quantise(path, tmp_path / "int8.onnx", "int8", blocks.samples(), options)
    record.write(tmp_path / "calibration.json")
    said = json.loads((tmp_path / "calibration.json").read_text())
    assert (said["graph"], said["kind"], said["samples"], said["percentile"]) == ("int8.onnx", "int8", 3, 99.9)
    up, down = (said["layers"][f"net.blocks.0.{part}"] for part in ("up", "down"))
    assert up["smoothing"] == "folded" and down["smoothing"] == "by a node of its own: its input comes out of Gelu"
    assert 0 < down["input_saturates"] < down["input_largest"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"alpha": 1.5}, "smoothing=1.5: use a number from 0"),
        ({"percentile": 0.0}, "percentile=0.0: use a number up to 100"),
        ({"rounding": 0.0}, "rounding=0.0: use a share above 0"),
        ({"rounding": 1e-9}, "allow more rounding"),
        ({"calibration": []}, "calibration without a sample"),
        (
            {"calibration": [{"latents": np.zeros((1, 3, 3), np.float32)}]},
            "calibration sample 1 does not fit the graph",
        ),
        ({"calibration": [{"latents": np.full((1, 24, 32), np.nan, np.float32)}]}, "is not finite"),
        ({"keep": ("*.blocks.9.*",)}, r"keep=\*.blocks.9.\*: no linear of this graph has such a name"),
        ({"keep": ("*",)}, "no linear to quantise in it"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(keys: dict, said: str, tmp_path: Path) -> None:
    blocks = Blocks()
    path = blocks.save(tmp_path / "wide.onnx")
    samples = keys.get("calibration", blocks.samples(1))
    chosen = {name: value for name, value in keys.items() if name != "calibration"}
    with pytest.raises(InputError, match=said):
        quantise(path, tmp_path / "int8.onnx", "int8", samples, QuantisationOptions(**chosen))
    assert not (tmp_path / "int8.onnx").exists()
