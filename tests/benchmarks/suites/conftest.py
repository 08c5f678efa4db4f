"""A small toy world and a benchmark over its clips."""

from pathlib import Path

import pytest

from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three val scenes of 61 frames, the second with some missing: four clips of 34 of six cameras, or two of 51."""
    recipe = ToyWorldConfig(train_scenes=0, val_scenes=3, seconds=5.0, size=(96, 54), workers=1)
    return make_toyworld(tmp_path_factory.mktemp("suites") / "toy", recipe, progress=False)


@pytest.fixture
def quick(toy_root: Path, tmp_path: Path) -> BenchmarkConfig:
    """One evaluation of the shipped model, and a floor, on small frames."""
    methods = {
        "flowframes": {"checkpoint": "tiny", "steps": 1, "size": [64, 96]},
        "floor": {"method": "repeat_last", "size": [64, 96]},
    }
    references = str(tmp_path / "references")
    out = str(tmp_path / "out")
    return BenchmarkConfig(methods=methods, root=str(toy_root), out=out, references=references, recordings=False)
