"""Where a run keeps what it made of its data, and how often it looks at them."""

from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import Accelerator
from drawn_videos import encode_video, moving_pictures

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.datasets import openvid
from worldmodel.errors import InputError
from worldmodel.training import DataConfig, TrainConfig, ValidationConfig, data
from worldmodel.training.latents import LatentEncoder


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Two short videos, of 24 and 20 frames."""
    folder = tmp_path_factory.mktemp("films")
    for number, frames in enumerate((24, 20)):
        encode_video(folder / f"{number}.mp4", list(moving_pictures(frames, 96, 128, seed=number)), {})
    return DataConfig(videos=str(folder), size=(64, 96), frames=(5, 9), stride=2, workers=0)


def test_runs_whose_names_have_dots_keep_their_own_stores(films: DataConfig) -> None:
    stores = [data.store_folder(TrainConfig(films, out=f"outputs/run{ending}")) for ending in ("", ".v1", ".v2")]
    assert [str(store) for store in stores] == [f"outputs/run{ending}.cache" for ending in ("", ".v1", ".v2")]
    given = TrainConfig(replace(films, store="elsewhere"), out="outputs/run.v1")
    assert data.store_folder(given) == Path("elsewhere")


def test_videos_are_scanned_once_for_all_lengths(
    films: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = [data.open_pairs(films, frames, tmp_path / "apart") for frames in films.frames]
    scans, open_collection = [], openvid.open_collection
    monkeypatch.setattr(openvid, "open_collection", lambda *given: scans.append(given) or open_collection(*given))
    together = data.open_lengths(films, films.frames, tmp_path / "store")
    assert len(scans) == 1
    assert [pairs.identity for pairs in together] == [pairs.identity for pairs in apart]
    assert [len(pairs) for pairs in together] == [len(pairs) for pairs in apart] == [8 + 6, 4 + 2]


def test_a_run_scans_its_videos_once(films: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, open_collection = [], openvid.open_collection
    monkeypatch.setattr(openvid, "open_collection", lambda *given: scans.append(given) or open_collection(*given))
    config = TrainConfig(replace(films, latent_cache=False, skip_bad=True), out=str(tmp_path / "run"))
    model = tiny_backbone(tiny_vae(8, 8), tiny_transformer(8, layers=1, heads=2, head_dim=16, caption_channels=8))
    groups = data.samples(config, LatentEncoder(model, 0, "no"), Accelerator(cpu=True))
    assert len(scans) == 1
    assert [type(group).__name__ for group in groups] == ["Readable", "Readable"]


def test_held_out_videos_are_read_beside_a_given_cache(films: DataConfig, tmp_path: Path) -> None:
    given = DataConfig(latents="unused", size=films.size, frames=(5,), store=str(tmp_path), workers=0)
    run = TrainConfig(given, validation=ValidationConfig(every=1, videos=films.videos))
    assert len(data.validation_pairs(run)) == 2 + 2
    with pytest.raises(InputError, match=r"validation\.videos: give the list or folder of held-out videos"):
        data.validation_pairs(replace(run, validation=ValidationConfig(every=1)))
