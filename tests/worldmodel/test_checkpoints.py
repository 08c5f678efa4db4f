"""The pipelines that come with the package."""

from pathlib import Path

import pytest

from worldmodel.checkpoints import shipped
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.errors import InputError
from worldmodel.measure.frame_scores import frame_scores, repeat_last
from worldmodel.models.checkpoint import trained_chunk
from worldmodel.models.families import FAMILIES, family_of
from worldmodel.models.open import open_pipeline
from worldmodel.models.round_trip import vae_round_trip
from worldmodel.pixels import to_uint8

NAMES = ("tiny", "tiny_base")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_pipeline_loads_and_says_its_chunk(name: str) -> None:
    pipeline = open_pipeline(shipped(name), device="cpu")
    frames, size = trained_chunk(name, family_of(pipeline.backbone))
    assert (frames, size) == (17, (128, 192))
    pipeline.backbone.geometry.check(frames, *size)


@pytest.mark.parametrize(("family", "size"), [("ltx", (256, 384)), ("wan", (240, 416)), ("tiny", (256, 384))])
def test_a_pipeline_that_says_no_chunk_takes_the_papers(tmp_path: Path, family: str, size: tuple[int, int]) -> None:
    assert trained_chunk(tmp_path, FAMILIES[family]) == (17, size)


def test_the_weights_take_at_most_24_megabytes() -> None:
    weights = [path for path in shipped("tiny").rglob("*.safetensors")]
    assert len(weights) == 3
    assert sum(path.stat().st_size for path in weights) <= 24e6


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(InputError, match="tiny, tiny_base"):
        shipped("large")


@pytest.mark.slow
def test_the_tiny_model_beats_repeating_the_last_frame_on_a_held_out_drive(tmp_path: Path) -> None:
    config = ToyWorldConfig(train_scenes=0, val_scenes=1, seconds=3.0, workers=1)
    index = open_index(make_toyworld(tmp_path / "toy", config, False), "v1.0-toy")
    pair = chunk_pairs(index, split="val", size=(128, 192))[0]
    pipeline = open_pipeline(shipped("tiny"), device="cpu")
    predicted = to_uint8(pipeline(pair.observed_NFCHW, num_inference_steps=1, frame_rate=pair.frame_rate).frames)
    videos = {
        "model": predicted,
        "repeat": repeat_last(pair.observed_NFCHW, 17),
        "ceiling": vae_round_trip(pipeline.backbone, pair.future_NGCHW, 17),
    }
    psnr = {name: frame_scores(video, pair.future_NGCHW).psnr_NT.mean() for name, video in videos.items()}
    assert psnr["repeat"] + 0.5 < psnr["model"] < psnr["ceiling"]
