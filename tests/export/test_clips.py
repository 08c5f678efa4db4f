"""Clips of a drive in the shape of an artifact."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldmodel.errors import InputError
from worldmodel.export.clips import clips_of
from worldmodel.export.graphs.parts import Chunk


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """22 images, each of one grey that is its number times ten."""
    for number in range(22):
        Image.new("RGB", (48, 32), (number * 10,) * 3).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def test_clips_follow_each_other_in_batches(images: Path) -> None:
    batches = clips_of(str(images), Chunk(5, 32, 48, cameras=2), batches=3)
    assert [batch.shape for batch in batches] == [(2, 5, 32, 48, 3)] * 2, "four whole clips in 22 images"
    first_greys = [int(clip[0, 0, 0, 0]) for batch in batches for clip in batch]
    assert first_greys == [0, 50, 100, 150]
    assert batches[0].dtype == np.uint8 and batches[1][1, 4, 0, 0].tolist() == [190] * 3


def test_few_clips_repeat_to_fill_one_batch(images: Path) -> None:
    (batch,) = clips_of(str(images), Chunk(17, 32, 48, cameras=3), batches=2)
    assert [int(clip[0, 0, 0, 0]) for clip in batch] == [0, 0, 0]


def test_no_clip_is_refused(images: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        clips_of(str(images), Chunk(33, 32, 48), batches=1)
