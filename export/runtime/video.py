"""Videos to the frames that a model sees, and predictions to files, with PyAV alone.

Pictures are cut at the centre to the model's aspect and scaled (area averaging down, bicubic up) by the code that does
it for training (`worldmodel.datasets.fitting`). Rotation tags are applied; pixels that are not square are stretched in
width.

Shape legend: B cameras, F frames, H height, W width, C colours (3).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import InputError
from worldmodel.files import written_whole

FILMS = (".mp4", ".mkv", ".mov")
ARRAYS = (".npy",)


class Fitting:
    """Pictures of any size to RGB [H, W, 3] of one: centre crop to the aspect, then scaled.

    Args:
        size: (H, W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        from worldmodel.datasets.fitting import Picture

        self._picture = Picture(size)

    def picture(self, picture_HWC: np.ndarray) -> np.ndarray:
        """An RGB picture of a camera, uint8 [H, W, 3] of any size, at this size."""
        import av

        return self.frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HWC), format="rgb24"))

    def frame(self, frame: Any, pixel_aspect: Fraction | None = None) -> np.ndarray:
        """A decoded `av.VideoFrame`, uint8 [H, W, 3]."""
        return np.stack(self._picture.planes(frame, pixel_aspect), axis=-1)


def read_frames(
    path: str | Path, frames: int, size: tuple[int, int], frame_rate: float, start_s: float = 0.0
) -> np.ndarray:
    """Frames of a video at an even rate: for each wanted time, counted from the first frame, the nearest one.

    The file is decoded from its beginning, which is right for every container; a late start takes its time.

    Args:
        size: (H, W).
        frame_rate: frames per second wanted; where the video is slower, frames come twice.

    Returns:
        uint8 [F, H, W, 3].

    Raises:
        InputError: missing, not a video, damaged, or it ends too early.
    """
    fitting, pictures = Fitting(size), []
    wanted_s = (start_s + np.arange(frames) / frame_rate).tolist()
    with opened(Path(path)) as (container, stream):
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        for frame, count in nearest(_timed(Path(path), container, stream), wanted_s):
            pictures += [fitting.frame(frame, aspect)] * count
    if len(pictures) < frames:
        raise InputError(
            f"{path}: ends before the last of {frames} frames at {frame_rate:g}/s from {start_s:g} s, which is at"
            f" {wanted_s[-1]:.2f} s; give a longer video or an earlier start"
        )
    return np.stack(pictures)


def nearest(timed: Iterable[tuple[float, Any]], wanted_s: Sequence[float]) -> Iterator[tuple[Any, int]]:
    """Frames that are nearest to the wanted times, with how many of these each serves; ties go to the earlier.

    The last frame lasts half a frame longer than its time; later times are served by none.
    """
    rest, step_s = list(wanted_s), 0.0
    before: tuple[float, Any] | None = None
    for time_s, frame in timed:
        if before is not None:
            step_s = time_s - before[0]
            served = sum(wanted - before[0] <= time_s - wanted for wanted in rest)
            rest = rest[served:]
            if served:
                yield before[1], served
            if not rest:
                return
        before = time_s, frame
    if before is not None:
        yield before[1], sum(wanted <= before[0] + 0.5 * step_s + 1e-9 for wanted in rest)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Container and first video stream of a file; `InputError` where there is none."""
    import av

    if not path.is_file():
        raise InputError(f"{path}: no such video file; check the path")
    with ExitStack() as stack:
        try:
            container = stack.enter_context(av.open(str(path)))
        except av.FFmpegError as error:
            raise InputError(f"{path}: not a readable video ({error.strerror}); copy it again") from None
        if not container.streams.video:
            raise InputError(f"{path}: no video stream in it; give a file with pictures")
        yield container, container.streams.video[0]


def write_video(path: str | Path, video_FHWC: np.ndarray, frame_rate: float) -> Path:
    """A film for people (.mp4, .mkv, .mov: H.264) or the exact pixels for programs (.npy), whole or not at all.

    Args:
        video_FHWC: uint8 RGB; an array may also be [B, F, H, W, 3].

    Raises:
        InputError: another ending.
    """
    path = Path(path)
    if path.suffix not in FILMS + ARRAYS:
        raise InputError(f"{path}: give a name ending in {', '.join(FILMS)} (film) or .npy (exact pixels)")
    with written_whole(path) as partial:
        if path.suffix in ARRAYS:
            with partial.open("wb") as file:
                np.save(file, video_FHWC)
        else:
            _write_film(partial, video_FHWC, frame_rate)
    return path


def _write_film(path: Path, video_FHWC: np.ndarray, frame_rate: float) -> None:
    import av

    rate = Fraction(frame_rate).limit_denominator(1001)
    with av.open(str(path), "w", format={".mkv": "matroska"}.get(path.suffix, path.suffix[1:])) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        stream.height, stream.width = video_FHWC.shape[1:3]
        stream.pix_fmt = "yuv420p" if stream.height % 2 == stream.width % 2 == 0 else "yuv444p"
        for picture_HWC in video_FHWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HWC), format="rgb24")))
        container.mux(stream.encode())


def _timed(path: Path, container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Seconds since the first frame, and the frame; by its number where the stream has no time stamps."""
    import av

    rate, first_s = float(stream.guessed_rate or stream.average_rate or 25), None
    try:
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {number} is damaged; use another start or re-export it")
            time_s = number / rate if frame.time is None else frame.time
            first_s = time_s if first_s is None else first_s
            yield time_s - first_s, frame
    except av.FFmpegError as error:
        raise InputError(f"{path}: damaged ({error.strerror}); copy it again or re-export it") from None
