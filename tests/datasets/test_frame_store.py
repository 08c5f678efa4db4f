"""Decoded frames against the pictures they come from."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from worldmodel.datasets.frame_store import FrameStore, open_frame_store
from worldmodel.datasets.images import read_image
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.errors import InputError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ToyWorldConfig(train_scenes=1, val_scenes=0, seconds=0.5, size=(96, 64), workers=1)
    return make_toyworld(tmp_path_factory.mktemp("drawn") / "toy", config, False)


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(drawn, tmp_path / "toy"))


def store_of(root: Path, size: tuple[int, int] = (32, 48)) -> FrameStore:
    index = open_index(root, "v1.0-toy")
    return open_frame_store(index, root.parent / "store", ["toy-0000"], None, size, length=4, workers=0)


def test_a_track_per_camera_holds_its_whole_drive_in_order(root: Path) -> None:
    store = store_of(root)
    assert [(track.scene, track.frames) for track in store.tracks] == [("toy-0000", 7)] * 6
    assert len({track.camera for track in store.tracks}) == 6
    pairs = chunk_pairs(
        open_index(root, "v1.0-toy"), scenes=["toy-0000"], observed_frames=4, future_frames=3, size=(32, 48)
    )
    pair = pairs[0]
    for track, paths in zip(store.tracks, pair.paths, strict=True):
        expected = np.stack([read_image(path, (32, 48)) for path in paths])
        assert np.array_equal(store.frames_SHW3[track.start : track.start + 7], expected)


def test_a_chunk_is_colours_first(root: Path) -> None:
    store = store_of(root)
    chunk = store.chunk(store.tracks[1].start + 2, 3)
    assert chunk.shape == (3, 3, 32, 48)
    assert np.array_equal(chunk[:, 1].permute(1, 2, 0).numpy(), store.frames_SHW3[store.tracks[1].start + 3])


def test_chunks_never_leave_their_track(root: Path) -> None:
    track = store_of(root).tracks[2]
    assert list(track.windows(5, 2)) == [track.start, track.start + 2]
    assert list(track.windows(8, 1)) == []


def test_it_is_made_once_and_again_when_a_picture_changes(root: Path) -> None:
    first = store_of(root)
    assert store_of(root).identity == first.identity
    picture = next((root / "samples/CAM_FRONT").glob("*toy-0000*"))
    picture.write_bytes(simplejpeg.encode_jpeg(np.zeros((64, 96, 3), np.uint8)))
    assert store_of(root).identity != first.identity


def test_another_size_is_another_store(root: Path) -> None:
    assert store_of(root).identity != store_of(root, (48, 64)).identity


def test_it_pickles_as_its_folder(root: Path) -> None:
    store = store_of(root)
    packed = pickle.dumps(store)
    assert len(packed) < 1000
    assert np.array_equal(pickle.loads(packed).frames_SHW3, store.frames_SHW3)


def test_a_corrupt_picture_is_named_and_leaves_no_store(root: Path) -> None:
    picture = next((root / "sweeps/CAM_BACK").glob("*toy-0000*"))
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(InputError, match=picture.name):
        store_of(root)
    assert not list((root.parent / "store").glob("*/card.json"))
