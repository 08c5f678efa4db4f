"""Chunk pairs of a collection: within one shot, exact frames, everything left out is counted."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from worldmodel.datasets.openvid import VideoEntry, VideoFiles, VideoPairs, open_collection, read_list
from worldmodel.datasets.openvid.indexed import IndexedVideo
from worldmodel.datasets.video.reader import VideoReader
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
    """Shots of 40 and 30 frames in one video, a short video, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    write(folder / "two_shots.mp4", np.concatenate([shot(0, 40), shot(5, 30)]))
    write(folder / "short.mp4", shot(2, 9))
    (folder / "broken.mp4").write_bytes(b"no video at all" * 100)
    return folder


NAMES = ("short.mp4", "two_shots.mp4", "gone.mp4", "broken.mp4")
ENTRIES = [VideoEntry(name, f"a video called {name}") for name in NAMES]


def pairs_of(folder: Path, frames: int = 5, stride: int | None = 5, **scan: object) -> VideoPairs:
    return open_collection(ENTRIES, VideoFiles([folder]), 2 * frames, **scan).pairs(frames, frames, stride, (32, 48))


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
    assert pairs.caption(7) == "a video called two_shots.mp4"
    assert pair.frame_rate == pytest.approx(24)
    assert pair.times_s[0] == pytest.approx(np.arange(40, 50) / 24)
    expected = pairs.sources[0].read(range(40, 50), (32, 48))
    assert torch.equal(torch.cat([pair.observed_NFCHW[0], pair.future_NGCHW[0]]), expected)


def test_processes_give_the_same(folder: Path, tmp_path: Path) -> None:
    alone = pairs_of(folder)
    scanned = pairs_of(folder, workers=2, cache=tmp_path)
    assert scanned.places == alone.places
    assert scanned.report == alone.report
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".npy", ".npy"]
    assert pickle.loads(pickle.dumps(scanned)).places == alone.places


class Openings(list):
    """Names of the videos that were opened, one for each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        opened = VideoReader.open_container
        monkeypatch.setattr(
            VideoReader, "open_container", lambda source: self.append(source.path.name) or opened(source)
        )


def test_a_second_scan_opens_no_video(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, openings = pairs_of(folder, cache=tmp_path), Openings(monkeypatch)
    again = pairs_of(folder, cache=tmp_path)
    assert openings == ["broken.mp4"]
    assert (again.places, again.report) == (first.places, first.report)
    assert torch.equal(again[7].future_NGCHW, first[7].future_NGCHW)
    assert again[7].frame_rate == first[7].frame_rate
    assert set(openings) == {"broken.mp4", "two_shots.mp4"}


def test_a_changed_video_is_scanned_again(tmp_path: Path) -> None:
    entries, files = [VideoEntry("video.mp4")], VideoFiles([tmp_path])
    counts = []
    for frames in (30, 20):
        write(tmp_path / "video.mp4", shot(1, frames))
        counts.append(len(open_collection(entries, files, 10, tmp_path / "cache").pairs(5, 5, 5, (32, 48))))
    assert counts == [5, 3]


@pytest.mark.parametrize("ending", ["mp4", "h264"])
def test_a_kept_index_is_the_same(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"video.{ending}", shot(1, 20))
    found = VideoReader(tmp_path / f"video.{ending}").index()
    for _ in range(2):
        kept = IndexedVideo(tmp_path / f"video.{ending}", tmp_path / "cache").index()
        for name in ("times_s", "keys", "pts", "dts"):
            assert np.array_equal(getattr(kept, name), getattr(found, name))
            assert getattr(kept, name).dtype == getattr(found, name).dtype
        assert kept.stamped is found.stamped is (ending == "mp4")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_pairs_of_several_lengths_are_cut_from_one_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {frames: pairs_of(folder, frames) for frames in (5, 17, 20)}
    openings = Openings(monkeypatch)
    collection = open_collection(ENTRIES, VideoFiles([folder]), shortest=10)
    assert sorted(openings) == ["broken.mp4", "short.mp4", "two_shots.mp4", "two_shots.mp4"]
    for frames, expected in alone.items():
        pairs = collection.pairs(frames, frames, 5, (32, 48))
        assert (pairs.places, pairs.report) == (expected.places, expected.report)
        assert pairs.frames == (frames, frames)
    assert len(openings) == 4


def test_a_cache_folder_that_cannot_be_made_is_no_fault_of_the_videos(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        pairs_of(folder, cache=tmp_path / "file" / "cache")


def test_batches_by_a_loader(folder: Path) -> None:
    batch = next(iter(DataLoader(pairs_of(folder), batch_size=3, collate_fn=list, num_workers=1)))
    assert [pair.observed_NFCHW.shape for pair in batch] == 3 * [(1, 5, 3, 32, 48)]


def test_most_stops_early(folder: Path) -> None:
    assert pairs_of(folder, most=2).report.videos == 2


def test_nothing_usable_says_why(folder: Path) -> None:
    with pytest.raises(InputError, match="no chunk pair of 200 frames: 4 videos, 0 usable"):
        pairs_of(folder, 100)
    with pytest.raises(InputError, match="stride=0"):
        pairs_of(folder, stride=0)


def test_a_damaged_member_is_named_and_the_list_goes_on(reported_folder: Path, tmp_path: Path) -> None:
    """`a.mp4` of the archive has a wrong checksum."""
    entries = read_list(reported_folder / "10_zip_crc" / "list.csv")
    files = VideoFiles(archives=[reported_folder / "10_zip_crc" / "p.zip"], extract_to=tmp_path)
    report = open_collection(entries, files, 10).pairs(5, 5, size=(32, 48)).report
    assert (report.videos, report.usable, len(report.bad)) == (2, 1, 1)
    ((name, reason),) = report.bad.items()
    assert name in reason and "cannot be extracted" in reason and "fetch it again" in reason


def test_two_archives_with_one_base_name(reported_folder: Path, tmp_path: Path) -> None:
    folder = reported_folder / "11_names"
    entries = list(read_list(folder / "two.csv")) + list(read_list(folder / "train.csv"))
    files = VideoFiles(archives=[folder / "zips"], extract_to=tmp_path)
    pairs = open_collection(entries, files, 10).pairs(5, 5, size=(32, 48))
    assert pairs.report.missing == ["train/0001.mp4"] and pairs.report.usable == 2
    first, second = (pairs.sources[number].path.read_bytes() for number in range(2))
    assert first != second
