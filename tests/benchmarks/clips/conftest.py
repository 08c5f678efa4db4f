"""Tables of val size, small datasets with pictures, and a small toy world."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "datasets" / "nuscenes"))

from nuscenes_small import write_dataset

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld

VAL_SCENES = ("scene-0003", "scene-0012")


@pytest.fixture(scope="session")
def small_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two val scenes and one of train, 70 frames of each camera with pictures; tests must not change it."""
    root = tmp_path_factory.mktemp("clips") / "small"
    return write_dataset(root, scenes=(*VAL_SCENES, "scene-0061"), frames=70)


@pytest.fixture
def own_val(tmp_path: Path) -> Path:
    """One val scene that a test may damage."""
    return write_dataset(tmp_path / "own", scenes=VAL_SCENES[:1], frames=70)


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two val scenes of 61 frames a camera, the second with some missing."""
    recipe = ToyWorldConfig(train_scenes=0, val_scenes=2, seconds=5.0, size=(96, 54), workers=1)
    return make_toyworld(tmp_path_factory.mktemp("clips") / "toy", recipe, progress=False)
