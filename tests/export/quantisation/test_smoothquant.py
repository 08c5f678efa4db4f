"""SmoothQuant changes nothing but how well a graph is quantised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from block_graphs import Blocks

from worldmodel.export.quantisation import QuantisationOptions, quantise
from worldmodel.export.quantisation.linears import kept_wide, linears_of
from worldmodel.export.quantisation.smoothquant import groups_of, smooth
from worldmodel.export.quantisation.tensor_ranges import record_ranges
from worldmodel.export.runtime.sessions import open_session

Samples = list[dict[str, np.ndarray]]


def outputs(path: Path, samples: Samples) -> np.ndarray:
    session = open_session(path)
    return np.concatenate([session.run(None, sample)[0] for sample in samples])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("family", "apart"),
    [("ltx", {"attn2.to_q": "residual stream", "ff.net.2": "Gelu"}), ("wan", {"ffn.net.2": "Gelu"})],
)
def test_a_smoothed_transformer_computes_the_same(
    step_file: Callable[..., Path], samples_for: Callable[..., Samples], family: str, apart: dict, tmp_path: Path
) -> None:
    step = step_file(family)
    samples = samples_for(step, 2, 0)
    model = ir.load(step)
    linears = linears_of(model)
    chosen = {linear.name for linear in linears} - kept_wide(linears, ()).keys()
    seen = record_ranges(step, {str(linear.input.name) for linear in linears if linear.name in chosen}, samples)
    factors, how = smooth(model, linears, chosen, {name: one.channels for name, one in seen.items()}, alpha=0.7)
    ir.save(model, tmp_path / "smooth.onnx")
    assert relative(outputs(tmp_path / "smooth.onnx", samples), outputs(step, samples)) <= 1e-5
    own = {name: said for name, said in how.items() if said != "folded"}
    assert how.keys() == chosen and {name.split("blocks.")[1].split(".", 1)[1] for name in own} == apart.keys()
    assert all(apart[name.split("blocks.")[1].split(".", 1)[1]] in said for name, said in own.items())
    after = record_ranges(tmp_path / "smooth.onnx", smoothed_inputs(tmp_path / "smooth.onnx", chosen), samples)
    assert len(after) == len(factors) > 4
    before = {name: seen[name].channels / s_K for name, s_K in factors.items()}
    for found, expected in zip(sorted_by_size(after), sorted(map(np.max, before.values())), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


def smoothed_inputs(path: Path, names: set[str]) -> set[str]:
    return {str(linear.input.name) for linear in linears_of(ir.load(path)) if linear.name in names}


def sorted_by_size(ranges: dict) -> list[float]:
    return sorted(one.largest for one in ranges.values())


def test_outliers_are_shared(tmp_path: Path) -> None:
    blocks = Blocks(loud=3, hidden=128)
    path, samples = blocks.save(tmp_path / "wide.onnx"), blocks.samples(4)
    exact, found = outputs(path, samples), {}
    for name, alpha in (("plain", None), ("smooth", 0.5)):
        quantise(path, tmp_path / f"{name}.onnx", "int8", samples, QuantisationOptions(("*down",), alpha))
        found[name] = relative(outputs(tmp_path / f"{name}.onnx", samples), exact)
    assert found["smooth"] < found["plain"] / 5, found


def test_factors_are_the_papers_with_mean_one() -> None:
    blocks = Blocks(blocks=1)
    model = ir.from_proto(_proto(blocks))
    group = next(group for group in groups_of(linears_of(model)) if group.linears[0].name == "net.blocks.0.up")
    largest = np.linspace(0, 5, 32)  # the first channel is dead
    s_K = group.factors(largest, 0.3)
    weights = np.abs(blocks.constants["blocks.0.up.w"]).max(1)
    paper = largest[1:] ** 0.3 / weights[1:] ** 0.7
    np.testing.assert_allclose(s_K[1:], paper / np.exp(np.log(paper).mean()), rtol=1e-5)
    assert s_K[0] == 1 and s_K[1:].prod() == pytest.approx(1, rel=1e-3)


def _proto(blocks: Blocks) -> object:
    import tempfile

    import onnx

    with tempfile.TemporaryDirectory() as folder:
        return onnx.load(str(blocks.save(Path(folder) / "graph.onnx")))
