"""Small datasets in nuScenes' format, written by `nuscenes_small`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nuscenes_small import write_dataset


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole dataset; tests must not change it."""
    return write_dataset(tmp_path_factory.mktemp("nuscenes") / "small")


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A dataset of one scene that a test may damage."""
    return write_dataset(tmp_path / "own", scenes=("scene-0061",))
