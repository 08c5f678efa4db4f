"""Videos to the frames that a model sees, and predictions to files, with PyAV alone.

Frames are found, and pictures cut at the centre to the model's aspect and scaled (area averaging down, bicubic up), by
the code that does it for training (`worldmodel.datasets.video.file`, `resize`). Rotation tags are applied; pixels that
are not square are stretched in width.

Shape legend: B cameras, F frames, H height, W width, C colours (3).
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import InputError
from worldmodel.files import media_url, written_whole

VIDEOS = (".mp4", ".mkv", ".mov")
ARRAYS = (".npy",)


class Fitting:
    """Pictures of any size to RGB [H, W, 3] of one: centre crop to the aspect, then scaled.

    Args:
        size: (H, W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        from worldmodel.datasets.resize import Picture

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

    Of the file only what is shown until then is looked at. The last frame lasts half a frame longer than its time.

    Args:
        size: (H, W).
        frame_rate: frames per second wanted; where the video is slower, frames come twice.

    Returns:
        uint8 [F, H, W, 3].

    Raises:
        InputError: missing, not a video, damaged, or it ends too early.
    """
    from worldmodel.datasets.nearest import nearest
    from worldmodel.datasets.video.file import VideoFile

    wanted_s = start_s + np.arange(frames) / frame_rate
    video = VideoFile(path, until_s=float(wanted_s[-1]))
    times_s = video.index().times_s - video.index().times_s[0]
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    if wanted_s[-1] > times_s[-1] + 0.5 * step_s + 1e-9:
        raise InputError(
            f"{path}: ends before the last of {frames} frames at {frame_rate:g}/s from {start_s:g} s, which is at"
            f" {wanted_s[-1]:.2f} s; give a longer video or an earlier start"
        )
    video_FCHW = video.arrays([nearest(times_s, wanted_s)], size)[0]
    return np.ascontiguousarray(video_FCHW.transpose(0, 2, 3, 1))


def write_video(path: str | Path, video_FHWC: np.ndarray, frame_rate: float) -> Path:
    """A video for people (.mp4, .mkv, .mov: H.264) or the exact pixels for programs (.npy), whole or not at all.

    Args:
        video_FHWC: uint8 RGB; an array may also be [B, F, H, W, 3].

    Raises:
        InputError: another ending.
    """
    path = Path(path)
    if path.suffix not in VIDEOS + ARRAYS:
        raise InputError(f"{path}: give a name ending in {', '.join(VIDEOS)} (film) or .npy (exact pixels)")
    with written_whole(path) as partial:
        if path.suffix in ARRAYS:
            with partial.open("wb") as file:
                np.save(file, video_FHWC)
        else:
            _encode(partial, video_FHWC, frame_rate)
    return path


def _encode(path: Path, video_FHWC: np.ndarray, frame_rate: float) -> None:
    import av

    rate = Fraction(frame_rate).limit_denominator(1001)
    with av.open(media_url(path), "w", format={".mkv": "matroska"}.get(path.suffix, path.suffix[1:])) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        stream.height, stream.width = video_FHWC.shape[1:3]
        stream.pix_fmt = "yuv420p" if stream.height % 2 == stream.width % 2 == 0 else "yuv444p"
        for picture_HWC in video_FHWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HWC), format="rgb24")))
        container.mux(stream.encode())
