"""The cache built by several jobs, and decoded for a look."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from worldmodel.cli.commands.cache_build import CacheBuildConfig, build_cache
from worldmodel.cli.commands.cache_look import CacheLookConfig, look_into_cache
from worldmodel.errors import InputError
from worldmodel.training import TrainConfig, train


@pytest.fixture
def building(runs, tmp_path: Path) -> CacheBuildConfig:
    """A cache that is not there yet."""
    settings = vars(replace(runs.flowframes, out=str(tmp_path / "run"), steps=1))
    return CacheBuildConfig(**settings | {"data": replace(runs.flowframes.data, store=str(tmp_path / "store"))})


def test_jobs_share_the_work_and_training_finds_it_done(building: CacheBuildConfig, capsys) -> None:
    for task in (1, 0):
        folders = build_cache(replace(building, task=task, tasks=2))
    assert "24 pairs of 5 + 5 frames, share 2 of 2" in capsys.readouterr().out
    written = {path: path.stat().st_mtime_ns for path in folders[0].iterdir()}
    plain = {name: value for name, value in vars(building).items() if name not in ("task", "tasks")}
    train(TrainConfig(**plain))
    assert {path: path.stat().st_mtime_ns for path in folders[0].iterdir()} == written


def test_a_look_shows_the_frames_and_those_from_noise(building: CacheBuildConfig, runs, tmp_path: Path) -> None:
    folder = build_cache(building)[0]
    base = str(runs.pipelines[1])
    look_into_cache(CacheLookConfig(str(folder), base, str(tmp_path / "cache.png"), pairs=3, steps=2))
    with Image.open(tmp_path / "cache.png") as picture:
        assert picture.size == (5 * 96, 3 * 64)
        assert len(picture.getcolors(1 << 20)) > 50


def test_another_model_is_refused(building: CacheBuildConfig, tmp_path: Path) -> None:
    folder = build_cache(building)[0]
    with pytest.raises(InputError, match="another model than pretrained=tiny;"):
        look_into_cache(CacheLookConfig(str(folder), "tiny", str(tmp_path / "cache.png")))


def test_tasks_without_sense_are_refused(building: CacheBuildConfig) -> None:
    assert asdict(building)["tasks"] == 1
    with pytest.raises(InputError, match="use a task from 0 to 1"):
        replace(building, task=2, tasks=2)
    with pytest.raises(InputError, match="no latent cache"):
        replace(building, objective="autoencoder")
