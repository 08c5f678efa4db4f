"""Two small toy worlds, drawn once: the same recipe by one process and by two."""

from pathlib import Path

import pytest

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld

SMALL = {"train_scenes": 1, "val_scenes": 1, "seconds": 1.5, "size": (160, 90)}


@pytest.fixture(scope="session")
def small() -> ToyWorldConfig:
    return ToyWorldConfig(**SMALL, workers=1)


@pytest.fixture(scope="session")
def toy_root(small: ToyWorldConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn in this process, one scene after the other."""
    return make_toyworld(tmp_path_factory.mktemp("toy") / "one", small, progress=False)


@pytest.fixture(scope="session")
def toy_root_two_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toyworld(tmp_path_factory.mktemp("toy") / "two", ToyWorldConfig(**SMALL, workers=2), progress=False)
