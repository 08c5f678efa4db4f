"""A small toy world and a benchmark over its clips."""

from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.benchmarks.clips import ClipsConfig, clip_list
from worldmodel.benchmarks.clips.documents import write_clip_list
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three val scenes of 61 frames, the second with some missing: four clips of 34 of six cameras, or two of 51."""
    recipe = ToyWorldConfig(train_scenes=0, val_scenes=3, seconds=5.0, size=(96, 54), workers=1)
    return make_toyworld(tmp_path_factory.mktemp("suites") / "toy", recipe, progress=False)


@pytest.fixture(scope="session")
def two_cameras(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The toy world's clips of two cameras that overlap: to describe a camera's 17 frames takes 0.6 s."""
    whole = clip_list(ClipsConfig(list="toyworld-val", root=str(toy_root)))
    path = tmp_path_factory.mktemp("lists") / "two-cameras.json"
    write_clip_list(replace(whole, clips=tuple(replace(clip, views=clip.views[:2]) for clip in whole.clips)), path)
    return str(path)


@pytest.fixture
def quick(toy_root: Path, two_cameras: str, tmp_path: Path) -> BenchmarkConfig:
    """One evaluation of the shipped model, and a floor, on small frames of three clips: unlike shares for two."""
    methods = {
        "flowframes": {"checkpoint": "tiny", "steps": 1, "size": [32, 48]},
        "floor": {"method": "repeat_last", "size": [32, 48]},
    }
    references = str(tmp_path / "references")
    out = str(tmp_path / "out")
    places = {"root": str(toy_root), "clips": two_cameras, "out": out, "references": references}
    return BenchmarkConfig(methods=methods, **places, most_clips=3, recordings=False)
