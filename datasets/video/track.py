"""One camera's videos or images as a track.

Shape legend: K frames of the track, F frames that are read, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from PIL import Image

from worldmodel.datasets.images import read_image
from worldmodel.datasets.resize import crop_box
from worldmodel.datasets.timing import is_gap, mean_step
from worldmodel.datasets.track import Track
from worldmodel.datasets.video.file import VideoFile


@dataclass(frozen=True)
class ImageSequence:
    """A folder's images in natural order, at an even rate."""

    paths: tuple[Path, ...]
    frame_rate: float

    @property
    def times_s(self) -> Float64[np.ndarray, "K"]:
        """Seconds from the first image."""
        return np.arange(len(self.paths)) / self.frame_rate

    def read(self, frames: Sequence[int], size: tuple[int, int], resample: str) -> UInt8[np.ndarray, "F 3 H W"]:
        """The images of these numbers, as `read_image` gives them."""
        pictures = [read_image(self.paths[frame], size, resample) for frame in frames]
        return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class VideoTrack(Track):
    """One camera's videos one after another, or its images; its first frame is time 0.

    `repeats[k]` says that part k begins with the frame its predecessor ended with; that frame counts once.
    """

    camera: str
    parts: tuple[VideoFile | ImageSequence, ...]
    repeats: tuple[bool, ...] = (False,)

    @cached_property
    def _places(self) -> list[tuple[int, int, float]]:
        """(part, number in it, seconds from the track's first frame) of every frame."""
        places: list[tuple[int, int, float]] = []
        for part, (source, repeated) in enumerate(zip(self.parts, self.repeats, strict=True)):
            times_s = source.times_s if isinstance(source, ImageSequence) else source.index().times_s
            begin_s = places[-1][2] if places else 0.0
            if places and not repeated:
                begin_s += mean_step(np.diff(times_s))
            since_first_s = times_s - times_s[0] + begin_s
            places += [(part, k, float(t)) for k, t in enumerate(since_first_s) if k >= int(repeated)]
        return places

    @cached_property
    def times_s(self) -> Float64[np.ndarray, "K"]:  # type: ignore[override]  # found when asked for: it costs a pass
        """Seconds from the first frame."""
        return np.array([time_s for _, _, time_s in self._places])

    @cached_property
    def joined(self) -> Bool[np.ndarray, "K-1"]:  # type: ignore[override]  # the same
        """Steps without a gap, by the rule for cameras of any rate: see `is_gap`."""
        steps_s = np.diff(self.times_s)
        return ~is_gap(steps_s, 1 / self.step_s) if self.step_s else np.zeros(len(steps_s), dtype=bool)

    def read(
        self, frames: Sequence[int], size: tuple[int, int], resample: str = "area"
    ) -> UInt8[np.ndarray, "F 3 H W"]:
        """As `Track.read`; every part is opened once."""
        wanted = [self._places[frame][:2] for frame in frames]
        pictures: dict[tuple[int, int], np.ndarray] = {}
        for part in sorted({part for part, _ in wanted}):
            numbers = sorted({number for at, number in wanted if at == part})
            source = self.parts[part]
            read = (
                source.read(numbers, size, resample)
                if isinstance(source, ImageSequence)
                else read_video(source, numbers, size, resample)
            )
            pictures.update({(part, number): picture for number, picture in zip(numbers, read, strict=True)})
        return np.stack([pictures[place] for place in wanted])


def read_video(
    source: VideoFile, numbers: Sequence[int], size: tuple[int, int], resample: str
) -> UInt8[np.ndarray, "F 3 H W"]:
    """Frames of a video by their numbers; ``vista`` crops and scales each as `read_image` does a picture."""
    if resample == "area":
        return source.arrays([numbers], size)[0]
    full_FCHW = source.arrays([numbers])[0]
    box = crop_box(full_FCHW.shape[3], full_FCHW.shape[2], *size)
    frames_FHWC = np.empty((len(numbers), *size, 3), dtype=np.uint8)
    for place, picture in enumerate(np.ascontiguousarray(full_FCHW.transpose(0, 2, 3, 1))):
        cropped = Image.fromarray(picture).crop(box)
        frames_FHWC[place] = np.asarray(cropped.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(frames_FHWC.transpose(0, 3, 1, 2))
