"""Which stream of a file is the video, and frames in the right order whatever the time stamps say.

Every video is compared frame by frame with a plain decode from its beginning; that this is what the ffmpeg program
shows is checked in test_video_ffmpeg.
"""

import os
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from drawn_videos import encode_video, moving_pictures

from worldmodel.datasets.resize import Picture
from worldmodel.datasets.video.cuts import distances
from worldmodel.datasets.video.index import evened
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError
from worldmodel.export.runtime.video import read_frames, write_video
from worldmodel.files import media_url

DATA = Path(os.environ.get("WORLDMODEL_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
SIZE = (36, 54)
B_PICTURES = {"g": "12", "bf": "3", "x264-params": "scenecut=0:b-adapt=0:b-pyramid=none:mbtree=0"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames in groups of 12 with three B pictures in a row."""
    return encode_video(tmp_path_factory.mktemp("video") / "video.mp4", moving_pictures(40, 96, 144), B_PICTURES)


def plain(path: Path, stream: int = 0) -> torch.Tensor:
    """Every frame of a stream, decoded from the beginning."""
    with av.open(media_url(path)) as container:
        picture = Picture(SIZE)
        return torch.from_numpy(np.stack([picture(frame) for frame in container.decode(container.streams[stream])]))


def copied(source: Path, target: Path, stamps: Callable[[av.Packet, int], None], times: int = 1) -> Path:
    """The packets of a video in another container, each with the stamps that `stamps(packet, number)` gives it."""
    with av.open(str(target), "w") as output:
        stream = None
        for part in range(times):
            with av.open(str(source)) as whole:
                stream = stream or output.add_stream_from_template(whole.streams.video[0])
                for packet in (p for p in whole.demux(video=0) if p.size):
                    stamps(packet, part)
                    packet.stream = stream
                    output.mux(packet)
    return target


def as_it_is(packet: av.Packet, part: int) -> None: ...


def of_decoding(packet: av.Packet, part: int) -> None:
    packet.pts = packet.dts


def exact(path: Path, frames: int, rate: float, stream: int = 0) -> VideoReader:
    """The video at `path`, once every way to read it has given its frames."""
    expected, source = plain(path, stream), VideoReader(path)
    assert len(source.index()) == len(expected) == frames
    assert (np.diff(source.index().times_s) > 0).all()
    assert source.index().frame_rate == pytest.approx(rate, rel=0.01)
    assert torch.equal(source.read(range(frames), SIZE), expected)
    for start in range(0, frames - 2, 5):
        assert torch.equal(source.read([start + 2, start], SIZE), expected[[start + 2, start]]), start
    ours = read_frames(path, frames - 5, SIZE, rate, 2 / rate)
    assert np.array_equal(ours.transpose(0, 3, 1, 2), expected[2 : frames - 3].numpy())
    assert len(distances(source).one_F) == frames
    return source


# --- which stream ----------------------------------------------------------------------------------------------------
def with_two_streams(path: Path, first: list[np.ndarray], second: list[np.ndarray], default: int) -> Path:
    """Matroska with two videos, Motion JPEG before H.264; number `default` is marked as the default."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("mjpeg", "libx264")]
        for number, (stream, pictures) in enumerate(zip(streams, (first, second), strict=True)):
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = ("yuvj420p", "yuv420p")[number]
            stream.disposition = av.stream.Disposition(int(number == default))
        for stream, pictures in zip(streams, (first, second), strict=True):
            for k, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("default", [0, 1])
def test_a_cover_that_does_not_say_so_is_not_the_film(tmp_path: Path, default: int) -> None:
    pictures = list(moving_pictures(20, 96, 144))
    exact(with_two_streams(tmp_path / "two.mkv", pictures[:1], pictures, default), 20, 25, stream=1)


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_videos_the_default_one_is_read(tmp_path: Path, default: int) -> None:
    pictures = list(moving_pictures(20, 96, 144))
    path = with_two_streams(tmp_path / "two.mkv", pictures, pictures[::-1], default)
    assert exact(path, 20, 25, stream=default).index().stream == default


def test_sound_with_a_cover_is_no_film(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=16000), container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 96, 144, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(next(moving_pictures(1, 96, 144)), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(InputError, match=r"song\.mp4: no video stream, only audio, cover picture; give"):
        VideoReader(tmp_path / "song.mp4").read([0])


def test_the_reported_covers() -> None:
    files = sorted((DATA / "reported" / "01_cover").glob("*.m*"))
    if not files:
        pytest.skip(f"no reported/01_cover in {DATA} (set WORLDMODEL_TEST_DATA)")
    for path in files:
        exact(path, 60, 12, stream=1)


# --- which time ------------------------------------------------------------------------------------------------------
def test_the_reported_avi() -> None:
    files = sorted((DATA / "reported" / "03_avi").glob("*.avi"))
    if not files:
        pytest.skip(f"no reported/03_avi in {DATA} (set WORLDMODEL_TEST_DATA)")
    for path in files:
        exact(path, len(plain(path)), 30)


def test_times_of_decoding(tmp_path: Path, video: Path) -> None:
    path = encode_video(tmp_path / "video.avi", moving_pictures(40, 96, 144), B_PICTURES)
    assert not exact(path, 40, 25).index().stamped
    exact(copied(video, tmp_path / "video.mkv", of_decoding), 40, 25)


def test_recordings_put_end_to_end(tmp_path: Path, video: Path) -> None:
    part = copied(video, tmp_path / "part.ts", as_it_is)
    (tmp_path / "whole.ts").write_bytes(part.read_bytes() * 2)
    exact(tmp_path / "whole.ts", 80, 25)


def test_transport_stream_whose_clock_wraps(tmp_path: Path, video: Path) -> None:
    late = 2**33 - 90000  # one second before its 33 bits are full

    def shifted(packet: av.Packet, part: int) -> None:
        scale = packet.time_base * 90000
        packet.time_base, packet.pts, packet.dts = (
            Fraction(1, 90000), round(packet.pts * scale) + late, round(packet.dts * scale) + late,
        )  # fmt: skip

    exact(copied(video, tmp_path / "late.ts", shifted), 40, 25)


def test_late_b_pictures_among_times_of_decoding_are_refused(tmp_path: Path, video: Path) -> None:
    """They begin after what is looked at when the file is opened; no frame may come with another's number."""
    begin = encode_video(tmp_path / "no_b.mp4", moving_pictures(150, 96, 144), {"bf": "0", "g": "12"})
    numbers = count()
    with av.open(str(tmp_path / "late.avi"), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 144, "yuv420p"
        for part in (begin, video):
            with av.open(str(part)) as whole:
                raw = av.BitStreamFilterContext("h264_mp4toannexb", whole.streams.video[0])
                for packet in (p for given in whole.demux(video=0) if given.size for p in raw.filter(given)):
                    packet.time_base, packet.stream = Fraction(1, 25), stream
                    packet.pts = packet.dts = next(numbers)
                    output.mux(packet)
    expected, source = plain(tmp_path / "late.avi"), VideoReader(tmp_path / "late.avi")
    assert torch.equal(source.read(range(140, 150), SIZE), expected[140:150])
    for number in range(151, 190):
        try:
            assert torch.equal(source.read([number], SIZE)[0], expected[number]), number
        except InputError as error:
            assert "late.avi: frame" in str(error) and "out of order" in str(error)


def test_stamps_that_are_all_equal_or_absurd(tmp_path: Path) -> None:
    def at_once(packet: av.Packet, part: int) -> None:
        packet.pts = packet.dts = 0

    path = encode_video(tmp_path / "video.mkv", moving_pictures(8, 96, 144), {"bf": "0"})
    with pytest.raises(InputError, match=r"still\.mkv: its 8 frames all have the same time; re-export it"):
        VideoReader(copied(path, tmp_path / "still.mkv", at_once)).index()
    tick = b"\x2a\xd7\xb1\x83"  # nanoseconds a tick
    assert path.read_bytes().count(tick + (1_000_000).to_bytes(3, "big")) == 1
    path.write_bytes(path.read_bytes().replace(tick + (1_000_000).to_bytes(3, "big"), tick + (1000).to_bytes(3, "big")))
    with pytest.raises(InputError, match=r"video\.mkv: 25000 frames per second, where a camera has 0\.1 to 1000; its"):
        VideoReader(path).index()


def test_times_rise_evenly_where_stamps_do_not() -> None:
    def said(*stamps: int | None) -> list[float]:
        return evened(stamps).tolist()

    assert said(0, 40, 40, 120) == [0, 40, 80, 120]
    assert said(None, 40, None, 120, None) == [0, 40, 80, 120, 160]
    assert said(10, 20, 30, 5, 15) == [10, 20, 30, 40, 50], "a new recording"
    assert said(0, 10, 10) == [0, 10, 20]
    assert said(0, 0, 30) == [0, 15, 30]


# --- names -----------------------------------------------------------------------------------------------------------
NAMES = [
    "14:30:15.mp4",
    "a %03d b.mp4",
    "-y.mp4",
    "file:x.mp4",
    "http:x.mp4",
    "été 雨.mp4",
    "concat:a|b.mp4",
    "x?y#z.mp4",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_a_file_whatever_it_is_called(here: Path, video: Path, name: str) -> None:
    Path(name).write_bytes(video.read_bytes())
    assert torch.equal(VideoReader(name).read([3], SIZE), VideoReader(video).read([3], SIZE))
    assert len(read_frames(name, 5, SIZE, 25)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_videos_are_written_whatever_they_are_called(here: Path, name: str) -> None:
    pictures = np.stack(list(moving_pictures(3, 48, 64)))
    assert len(VideoReader(write_video(name, pictures, 12.0)).index()) == 3
    assert [path.name for path in here.iterdir()] == [name]


# --- strangers' files ------------------------------------------------------------------------------------------------
def test_a_title_in_another_encoding_is_no_reason_to_refuse(tmp_path: Path, video: Path) -> None:
    with av.open(str(tmp_path / "video.mkv"), "w") as output, av.open(str(video)) as whole:
        output.metadata["title"] = "Fahrt durch Muenchen"
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in (packet for packet in whole.demux(video=0) if packet.size):
            packet.stream = stream
            output.mux(packet)
    titled = (tmp_path / "video.mkv").read_bytes()
    assert titled.count(b"Muenchen") == 1
    (tmp_path / "latin.mkv").write_bytes(titled.replace(b"Muenchen", "M\xfcnchen ".encode("latin-1")))
    assert torch.equal(VideoReader(tmp_path / "latin.mkv").read([7], SIZE), plain(video)[[7]])
    assert len(read_frames(tmp_path / "latin.mkv", 5, SIZE, 25)) == 5


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_spoilt_files_are_frames_or_one_sentence(tmp_path: Path, suffix: str) -> None:
    whole = encode_video(tmp_path / f"whole.{suffix}", moving_pictures(12, 48, 64), {"g": "6"}).read_bytes()
    chance, path = random.Random(suffix), tmp_path / f"spoilt.{suffix}"
    for trial in range(12):
        content = bytearray(whole[: chance.randrange(len(whole)) if trial % 3 == 0 else len(whole)])
        for _ in range(chance.choice([1, 8, 64])):
            content[chance.randrange(min(len(content), chance.choice([400, 10**6])))] = chance.randrange(256)
        path.write_bytes(content)
        for read in (lambda: VideoReader(path).read([0]), lambda: read_frames(path, 2, SIZE, 12.0)):
            try:
                assert len(read())
            except InputError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
