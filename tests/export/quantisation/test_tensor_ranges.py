"""Ranges of activations, measured inside the graph, against numpy."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from block_graphs import Blocks

from worldmodel.export.quantisation.tensor_ranges import TensorRange, along_schedule, record_ranges, spacing
from worldmodel.export.runtime.manifest_fields import Schedule

TENSORS = ["blocks.0/normed", "blocks.2/gelu"]


def values(path: Path, samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    model = onnx.load(str(path))
    for name in TENSORS:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.concatenate(runs) for runs in zip(*(session.run(TENSORS, sample) for sample in samples), strict=True)]


def test_ranges_are_numpys(tmp_path: Path) -> None:
    blocks = Blocks()
    path, samples = blocks.save(tmp_path / "graph.onnx"), blocks.samples(4)
    found = record_ranges(path, TENSORS, samples)
    for name, expected in zip(TENSORS, values(path, samples), strict=True):
        np.testing.assert_allclose(found[name].channels, np.abs(expected).max((0, 1)), rtol=1e-6)
        assert found[name].counts.sum() == expected.size
        for percent in (50, 90, 99.5):
            assert found[name].percentile(percent) == pytest.approx(np.percentile(np.abs(expected), percent), rel=0.03)
        assert found[name].percentile(100) == found[name].largest


def test_divided_tensors_are_measured_after_the_division(tmp_path: Path) -> None:
    blocks = Blocks()
    path, samples = blocks.save(tmp_path / "graph.onnx"), blocks.samples(2)
    s_K = np.linspace(1, 9, 32).astype(np.float32)
    plain, divided = (
        record_ranges(path, TENSORS[:1], samples),
        record_ranges(path, TENSORS[:1], samples, {TENSORS[0]: s_K}),
    )
    np.testing.assert_allclose(divided[TENSORS[0]].channels, plain[TENSORS[0]].channels / s_K, rtol=1e-5)


def test_weights_may_lie_beside_the_graph(tmp_path: Path) -> None:
    blocks = Blocks()
    path, samples = blocks.save(tmp_path / "graph.onnx"), blocks.samples(1)
    model = onnx.load(str(path))
    (tmp_path / "apart").mkdir()
    apart = tmp_path / "apart" / "graph.onnx"
    onnx.save_model(model, str(apart), save_as_external_data=True, location="graph.onnx.data", size_threshold=0)
    one, other = (record_ranges(place, TENSORS, samples) for place in (path, apart))
    assert all((one[name].channels == other[name].channels).all() for name in TENSORS)


def test_a_rare_giant_is_beyond_the_percentile() -> None:
    found = TensorRange(np.zeros(4))
    values = np.concatenate([np.linspace(0.5, 1, 99_999), [300]])
    found.add(np.full(4, 300.0), values)
    assert found.largest == 300 and found.percentile(99.9) == pytest.approx(1, rel=0.02)
    zeros = TensorRange(np.zeros(2))
    zeros.add(np.zeros(2), np.zeros(10))
    assert zeros.percentile(99) == zeros.largest == 0


@pytest.mark.parametrize(("size", "channels"), [(288 * 2048, 2048), (1950 * 8960, 8960), (1000, 32)])
def test_some_values_of_every_channel_are_looked_at(size: int, channels: int) -> None:
    step = spacing(size, channels)
    looked_at = np.arange(0, size, step)
    assert len(looked_at) <= 2 * 65536
    assert len(np.unique(looked_at % channels)) == min(channels, len(looked_at))


def test_samples_along_a_schedule_are_the_loops(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    step (float[1,2,1,1,3] latents, float[1] sigma) => (float[1,2,1,1,3] velocity) { velocity = Mul(latents, sigma) }
    """
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "step.onnx"))
    schedule = Schedule(sigmas=(1.0, 0.5), source=(1.0, 1.0), velocity=((-0.5,), (-0.5, -0.5)))
    source = np.arange(6, dtype=np.float32).reshape(1, 2, 1, 1, 3)
    first, second = along_schedule(tmp_path / "step.onnx", [source], schedule)
    assert (first["latents"] == source).all() and first["sigma"] == 1
    np.testing.assert_allclose(second["latents"], source - 0.5 * source)  # one Euler step of v = x from 1 to 0.5
    assert second["sigma"] == 0.5
