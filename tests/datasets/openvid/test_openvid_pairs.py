"""Chunk pairs of a collection: within one shot, exact frames, everything left out is counted."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from worldmodel.datasets.clip import collate
from worldmodel.datasets.openvid import VideoEntry, VideoFiles, video_pairs
from worldmodel.errors import InputError

H, W = 48, 80


def shot(seed: int, frames: int) -> np.ndarray:
    """A textured picture that slides; [frames, H, W, 3] uint8."""
    random = np.random.default_rng(seed)
    wide = random.integers(0, 256, 3) // 2 + random.integers(0, 128, (H, W + 3 * frames, 1))
    return np.stack([wide[:, 3 * i : 3 * i + W] for i in range(frames)]).astype(np.uint8)


def write(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shots of 40 and 30 frames in one film, a short film, and a file that is no film."""
    folder = tmp_path_factory.mktemp("videos")
    write(folder / "two_shots.mp4", np.concatenate([shot(0, 40), shot(5, 30)]))
    write(folder / "short.mp4", shot(2, 9))
    (folder / "broken.mp4").write_bytes(b"no film at all" * 100)
    return folder


NAMES = ("short.mp4", "two_shots.mp4", "gone.mp4", "broken.mp4")
ENTRIES = [VideoEntry(name, f"a film called {name}") for name in NAMES]


def pairs_of(folder: Path, **settings: object):
    settings = {"observed_frames": 5, "future_frames": 5, "stride": 5, "size": (32, 48)} | settings
    return video_pairs(ENTRIES, VideoFiles([folder]), **settings)


def test_no_pair_spans_the_cut(folder: Path) -> None:
    pairs = pairs_of(folder)
    assert [place.start for place in pairs.places] == [0, 5, 10, 15, 20, 25, 30, 40, 45, 50, 55, 60]
    assert len(pairs_of(folder, stride=None)) == 4 + 3


def test_everything_left_out_is_counted(folder: Path) -> None:
    report = pairs_of(folder).report
    assert (report.videos, report.usable, report.pairs, report.cuts) == (4, 1, 12, 1)
    assert report.missing == ["gone.mp4"]
    assert report.too_short == 1
    assert list(report.bad) == ["broken.mp4"]
    assert str(report) == "4 videos, 1 usable with 12 pairs, 1 cuts; 1 missing, 1 too short, 1 unreadable"


def test_a_pair_holds_the_frames_it_says(folder: Path) -> None:
    pairs = pairs_of(folder)
    pair = pairs[7]
    assert pair.scene == "two_shots"
    assert pairs.caption(7) == "a film called two_shots.mp4"
    assert pair.frame_rate == pytest.approx(24)
    assert pair.times_s[0] == pytest.approx(np.arange(40, 50) / 24)
    expected = pairs.sources[0].read(range(40, 50), (32, 48))
    assert torch.equal(torch.cat([pair.observed_NFCHW[0], pair.future_NGCHW[0]]), expected)


def test_processes_give_the_same(folder: Path, tmp_path: Path) -> None:
    alone = pairs_of(folder)
    scanned = pairs_of(folder, workers=2, cuts_cache=tmp_path)
    assert scanned.places == alone.places
    assert scanned.report == alone.report
    assert len(list(tmp_path.iterdir())) == 1
    assert pickle.loads(pickle.dumps(scanned)).places == alone.places


def test_batches_by_a_loader(folder: Path) -> None:
    batch = next(iter(DataLoader(pairs_of(folder), batch_size=3, collate_fn=collate, num_workers=1)))
    assert batch["observed_BNFCHW"].shape == (3, 1, 5, 3, 32, 48)


def test_most_stops_early(folder: Path) -> None:
    assert pairs_of(folder, most=2).report.videos == 2


def test_nothing_usable_says_why(folder: Path) -> None:
    with pytest.raises(InputError, match="no chunk pair of 200 frames: 4 videos, 0 usable"):
        pairs_of(folder, observed_frames=100, future_frames=100)
    with pytest.raises(InputError, match="stride=0"):
        pairs_of(folder, stride=0)
