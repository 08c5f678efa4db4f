"""A nuScenes scene behind the same question as videos: from when, how many frames, how many more are there."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "nuscenes"))

from nuscenes_small import write_dataset

from worldmodel.datasets.sources import open_source
from worldmodel.datasets.video_source import VideoSource
from worldmodel.errors import InputError

SIZE = (32, 48)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 40 frames, three cameras; green says the frame's number."""
    return write_dataset(tmp_path_factory.mktemp("nuscenes") / "small")


def numbers(video_FCHW: torch.Tensor) -> list[int]:
    return [round((float(frame[1].double().mean()) - 10) / 5) for frame in video_FCHW]


@pytest.mark.parametrize(("start_s", "first"), [(0.0, 0), (0.5, 6), (1.0, 12)])
def test_starts_where_asked_and_gives_what_is_there(root: Path, start_s: float, first: int) -> None:
    source = open_source(root, scene="scene-0103")
    at_zero = numbers(source.chunk(0.0, 9, 1, SIZE).observed_NFCHW[0])[0]
    pair = source.chunk(start_s, 9, 40, SIZE)
    shown = numbers(torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)[0])
    assert pair.scene == "scene-0103"
    assert shown == list(range(at_zero + first, at_zero + first + len(shown)))
    assert shown[-1] >= 38  # cameras are out of step: the last frame of one may have no partner
    assert pair.times_s.shape == (3, len(shown))
    assert pair.ego_poses.shape == (3, len(shown), 4, 4)
    assert len(pair.paths[0]) == len(shown)


def test_future_may_be_empty_or_as_long_as_asked(root: Path) -> None:
    source = open_source(root, cameras=("CAM_BACK", "CAM_FRONT"))
    assert source.chunk(0.0, 9, 0, SIZE).future_NGCHW.shape[1] == 0
    pair = source.chunk(0.0, 9, 18, SIZE)
    assert pair.cameras == ("CAM_BACK", "CAM_FRONT")
    assert pair.future_NGCHW.shape == (2, 18, 3, *SIZE)
    end = source.chunk(2.5, 9, 9, SIZE)
    assert end.future_NGCHW.shape[1] < 9
    steps_s = np.diff(end.times_s[0])
    assert np.allclose(np.sort(np.unique(steps_s.round(2))), [0.05, 0.1]) and end.frame_rate == 12.0


def test_what_cannot_be_opened_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scene 'scene-9' is not in"):
        open_source(root, scene="scene-9").chunk(0.0, 9, 9, SIZE)
    with pytest.raises(InputError, match="start=9"):
        open_source(root).chunk(9.0, 9, 9, SIZE)
    with pytest.raises(InputError, match="not resampled; leave frame_rate out"):
        open_source(root).chunk(0.0, 9, 9, SIZE, frame_rate=10.0)
    with pytest.raises(InputError, match="v1.0-none"):
        open_source(root, version="v1.0-none")
    (root.parent / "two").mkdir()
    for version in ("v1.0-a", "v1.0-b"):
        (root.parent / "two" / version).mkdir()
        (root.parent / "two" / version / "sample_data.json").write_text("[]")
    with pytest.raises(InputError, match="versions v1.0-a, v1.0-b; choose one with version="):
        open_source(root.parent / "two")
    with pytest.raises(InputError, match="leave scene out"):
        open_source(tmp_path, scene="scene-0061")


def test_anything_else_is_a_video(footage_folder: Path, footage_manifest: list) -> None:
    listed = [entry for entry in footage_manifest if entry["file"].startswith("driving/")]
    if not listed:
        pytest.skip("no drive is listed in the footage collection")
    source = open_source(footage_folder / listed[0]["file"])
    assert isinstance(source, VideoSource)
    assert source.scene == Path(listed[0]["file"]).stem
