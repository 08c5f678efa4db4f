"""Pictures of the runtime are those of training, frames are the nearest ones, files hold what was written."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from worldmodel.datasets.video.reader import VideoReader
from worldmodel.datasets.video_source import open_videos
from worldmodel.errors import InputError
from worldmodel.export.runtime.video import Fitting, read_frames, write_video

RATE = 12.0


def film(
    path: Path, frames: int = 30, size: tuple[int, int] = (90, 122), rate: int = 25, **stream_keys: object
) -> Path:
    """A film with texture and motion, with B pictures where the codec has them."""
    numbers = np.random.default_rng(0)
    texture = numbers.integers(0, 256, (size[0] // 3 + 1, size[1] // 3 + frames, 3), dtype=np.uint8)
    wide = texture.repeat(3, 0).repeat(3, 1)[: size[0]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "g": "10"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for key, value in stream_keys.items():
            setattr(stream, key, value)
        for k in range(frames):
            picture = np.ascontiguousarray(wide[:, 2 * k : 2 * k + size[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("size", [(32, 48), (64, 64), (24, 96), (90, 112), (180, 200)], ids=str)
def test_pictures_are_those_of_training(tmp_path: Path, size: tuple[int, int]) -> None:
    path = film(tmp_path / "film.mp4")
    ours = read_frames(path, 30, size, 25.0)
    assert np.array_equal(ours, VideoReader(path).read(range(30), size).permute(0, 2, 3, 1).numpy())
    assert ours.shape == (30, *size, 3) and ours.std() > 10


@pytest.mark.parametrize("width", [120, 118, 124])
def test_no_column_is_left_black(tmp_path: Path, width: int) -> None:
    """FFmpeg's unscaled conversion to planar RGB leaves up to 8 columns after the last 16 whole ones as they were."""
    path = film(tmp_path / "film.mp4", size=(90, width))
    ours = read_frames(path, 3, (90, width), 25.0).astype(int)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:3]
    assert np.abs(ours - np.stack(frames)).mean(axis=(0, 1, 3)).max() < 20 < ours[:, :, -1].std()


def test_pixels_that_are_not_square_and_turned_films(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", sample_aspect_ratio=Fraction(4, 3))
    assert VideoReader(path).read([0], None).shape[-2:] == (90, 163), "the film says that its pixels are wide"
    ours = read_frames(path, 3, (32, 48), 25.0)
    assert np.array_equal(ours, VideoReader(path).read(range(3), (32, 48)).permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("rate", [12, 10, 25, 30])
@pytest.mark.parametrize("start", [0.0, 0.31])
def test_frames_are_the_nearest_in_time(tmp_path: Path, rate: int, start: float) -> None:
    path = film(tmp_path / "film.mp4", frames=34, rate=rate)
    pair = open_videos(path).chunk(start, 9, 0, (32, 48), RATE)
    assert np.array_equal(
        read_frames(path, 9, (32, 48), RATE, start), pair.observed_NFCHW[0].permute(0, 2, 3, 1).numpy()
    )


def test_pictures_of_a_camera_fit_as_well(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    fits = Fitting((45, 61))
    assert np.array_equal(fits.picture(picture), picture), "nothing to do"
    grey = Fitting((32, 48)).picture(np.full((90, 122, 3), (10, 200, 77), np.uint8))
    assert grey.shape == (32, 48, 3) and np.abs(grey.astype(int) - (10, 200, 77)).max() <= 1


def test_a_short_video_says_what_is_missing(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", frames=10)
    with pytest.raises(
        InputError, match=r"ends before the last of 9 frames at 12/s from 0 s, which is at 0.67 s; give"
    ):
        read_frames(path, 9, (32, 48), RATE)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such video file; check the path"), (b"", "empty file"), (b"x" * 999, "not a readable video")],
)
def test_what_is_no_video(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_frames(path, 9, (32, 48), RATE)


def test_a_cut_off_film_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(InputError, match="film.mkv"):
        read_frames(path, 26, (32, 48), 12.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_films_hold_what_was_written(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 8 * 32 * 48).reshape(8, 32, 48, 1).repeat(3, -1).astype(np.uint8)
    path = write_video(tmp_path / f"out{suffix}", smooth, RATE)
    back = VideoReader(path)
    assert len(back.index()) == 8 and back.index().frame_rate == pytest.approx(RATE, rel=0.01)
    assert np.abs(back.read(range(8)).permute(0, 2, 3, 1).numpy().astype(int) - smooth).mean() < 3
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_arrays_hold_the_exact_pixels(tmp_path: Path) -> None:
    video = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.load(write_video(tmp_path / "out.npy", video, RATE)), video)


def test_odd_sizes_and_unknown_endings(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mp4", np.zeros((3, 33, 47, 3), np.uint8), RATE)
    assert VideoReader(path).read([0]).shape[-2:] == (33, 47)
    with pytest.raises(InputError, match="give a name ending in .mp4, .mkv, .mov .film. or .npy .exact pixels."):
        write_video(tmp_path / "out.gif", np.zeros((3, 32, 48, 3), np.uint8), RATE)
