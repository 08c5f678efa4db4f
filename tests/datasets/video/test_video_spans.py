"""Several spans of one opening equal single reads; decord behind the same interface."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_videos import NASTY, encode_video, moving_pictures

from worldmodel.datasets.openvid import VideoEntry, VideoFiles, open_collection
from worldmodel.datasets.sources import open_source
from worldmodel.datasets.video import file as video_file
from worldmodel.datasets.video.decord_reader import DecordReader
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.datasets.video.readers import reader_class
from worldmodel.errors import InputError, MissingDependency

SIZE = (36, 54)
SPANS = [range(70, 80), range(3, 9), range(75, 90), [12, 9, 9], range(9, 12), np.array([119])]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 frames in closed groups of 50, with B pictures."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return encode_video(path, moving_pictures(120, 96, 144), {"g": "50", "x264-params": "scenecut=0", "crf": "12"})


@pytest.mark.parametrize("known", [True, False])
def test_spans_equal_single_reads(video: Path, known: bool) -> None:
    source = VideoReader(video)
    if known:
        source.index()
    videos = source.read_spans(SPANS, SIZE)
    assert len(videos) == len(SPANS)
    for span, read in zip(SPANS, videos, strict=True):
        assert torch.equal(read, VideoReader(video).read(span, SIZE))


def test_spans_share_no_memory(video: Path) -> None:
    first, second = VideoReader(video).read_spans([range(5), range(3, 8)], SIZE)
    before = second.clone()
    first.zero_()
    assert torch.equal(second, before)
    assert first.untyped_storage().nbytes() == first.numel()


def test_one_seek_for_spans_that_touch(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeks = []
    own = video_file.packets_from
    monkeypatch.setattr(video_file, "packets_from", lambda *given: seeks.append(given[2][0]) or own(*given))
    source = VideoReader(video)
    source.read_spans([range(20, 30), range(10, 22), range(35, 40), range(48, 52)], SIZE)
    assert len(seeks) == 1  # frame 50 is a key frame, and the frame before it is wanted anyway
    source.read_spans([range(10, 12), range(110, 112)], SIZE)
    assert len(seeks) == 3


@pytest.mark.parametrize("kind", ["open groups, Matroska", "edit list (copied from frame 42)"])
def test_spans_of_awkward_videos(tmp_path: Path, kind: str) -> None:
    source = VideoReader(NASTY[kind](tmp_path, list(moving_pictures(130, 96, 144))))
    spans = [range(40, 50), range(2, 7), range(80, 85), range(45, 64)]
    for span, read in zip(spans, source.read_spans(spans, SIZE), strict=True):
        assert torch.equal(read, VideoReader(source.path).read(span, SIZE))


@pytest.mark.parametrize("known", [True, False])
def test_a_stream_without_time_stamps(tmp_path: Path, known: bool) -> None:
    path = encode_video(tmp_path / "raw.h264", moving_pictures(40, 96, 144), {"g": "12"})
    whole, source = VideoReader(path).read(range(40), SIZE), VideoReader(path)
    if known:
        assert not source.index().stamped
    late, early = source.read_spans([range(30, 33), range(1, 4)], SIZE)
    assert torch.equal(late, whole[30:33])
    assert torch.equal(early, whole[1:4])


def test_no_span_and_bad_spans(video: Path) -> None:
    assert VideoReader(video).read_spans([], SIZE) == []
    for spans in ([range(3), range(118, 121)], [range(3), []]):
        with pytest.raises(InputError, match="asked for"):
            VideoReader(video).read_spans(spans, SIZE)


# --- readers --------------------------------------------------------------------------------------------------------
@pytest.fixture
def by_decord(video: Path) -> VideoReader:
    pytest.importorskip("decord", reason="decord is not installed")
    return reader_class("decord")(video)


def decibels(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / ((a.double() - b.double()) ** 2).mean()))


def test_readers_are_chosen_by_name(video: Path) -> None:
    assert reader_class("pyav") is VideoReader
    with pytest.raises(InputError, match="video_reader='opencv' is unknown; use pyav or decord"):
        reader_class("opencv")(video)


def test_without_decord_the_remedy_is_named(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MissingDependency, match=r"it is not installed .*; run `pip install worldmodel\[decord\]`"):
        reader_class("decord")(video)


@pytest.mark.parametrize("size", [SIZE, (96, 96), (40, 120), None])
def test_decord_gives_the_same_frames(video: Path, by_decord: VideoReader, size: tuple[int, int] | None) -> None:
    reader = pickle.loads(pickle.dumps(by_decord))
    source = VideoReader(video)
    assert np.array_equal(reader.index().pts, source.index().pts)
    for mine, own in zip(reader.read_spans(SPANS, size), source.read_spans(SPANS, size), strict=True):
        assert mine.shape == own.shape
        assert decibels(mine, own) > 30
    assert torch.equal(reader.read([9, 3], size), reader.read_spans([[9, 3]], size)[0])


REFUSED = {
    "edit list (copied from frame 42)": "decord finds 100 frames where 88 are shown, as by an edit list",
    "open groups, MP4": "has open groups of pictures, in which decord gives wrong frames",
    "closed groups, MPEG-TS": "decord is known to find the right frames in MP4, MOV, Matroska and WebM only",
    "open groups, Matroska": "has open groups of pictures, in which decord gives wrong frames",
}


@pytest.mark.parametrize("kind", NASTY)
def test_decord_is_right_or_refuses_by_name(tmp_path: Path, by_decord: VideoReader, kind: str) -> None:
    path = NASTY[kind](tmp_path, list(moving_pictures(130, 96, 144)))
    mine, own = reader_class("decord")(path), VideoReader(path)
    if kind in REFUSED:
        with pytest.raises(InputError, match=f"{path.name}: {REFUSED[kind]}; use video_reader=pyav"):
            mine.index()
        return
    for start in range(0, len(own.index()) - 8, 23):
        span = range(start, start + 8)
        assert decibels(mine.read(span, (96, 144)), own.read(span, (96, 144))) > 33, start


def test_decord_names_what_it_cannot_open(tmp_path: Path, by_decord: VideoReader) -> None:
    raw = encode_video(tmp_path / "raw.h264", moving_pictures(20, 96, 144), {"g": "12"})
    with pytest.raises(InputError, match=r"raw\.h264: decord is known to find .*; use video_reader=pyav"):
        reader_class("decord")(raw).read([0], SIZE)
    with pytest.raises(InputError, match="no such video file"):
        reader_class("decord")(tmp_path / "nowhere.mp4").read([0], SIZE)
    with pytest.raises(InputError, match="frame 120 asked for"):
        by_decord.read([120], SIZE)


def test_decord_reads_a_rig_and_a_list(tmp_path: Path, video: Path, by_decord: VideoReader) -> None:
    (tmp_path / "14:30:15.mp4").write_bytes(video.read_bytes())
    NASTY["open groups, MP4"](tmp_path, list(moving_pictures(60, 96, 144)))
    source = open_source(tmp_path, cameras=["14:30:15"], video_reader="decord")
    assert decibels(source.chunk(0.0, 5, 4, SIZE, 25.0).observed_NFCHW[0], VideoReader(video).read(range(5), SIZE)) > 30
    listed = [VideoEntry("14:30:15.mp4"), VideoEntry("open_groups.mp4")]
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        found = open_collection(listed, VideoFiles([tmp_path]), 10, cache, reader="decord")
        assert [isinstance(entry.source, DecordReader) for entry in found.videos] == [True]
        assert "open groups of pictures" in found.report.bad["open_groups.mp4"]
        pair = pickle.loads(pickle.dumps(found.pairs(5, 5, size=SIZE)))[0]
        assert decibels(pair.observed_NFCHW[0], VideoReader(video).read(range(5), SIZE)) > 30


def test_decord_sees_pictures_upright_and_square(footage_folder: Path, footage_manifest: list) -> None:
    pytest.importorskip("decord", reason="decord is not installed")
    listed = [entry for entry in footage_manifest if "rotation" in entry["note"] or "non-square" in entry["note"]]
    if not listed:
        pytest.skip("no turned or stretched video is listed in the footage collection")
    for entry in listed:
        path = footage_folder / entry["file"]
        mine, own = (reader_class(name)(path).read([0], (64, 64)) for name in ("decord", "pyav"))
        assert decibels(mine, own) > 22, entry["file"]
