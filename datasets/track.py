"""A track: the frames of one camera in one drive, when each was taken, and the windows that can be cut from it.

Whatever a dataset stores, it gives tracks; a pair of chunks is a window of one track, or of several in step
(`worldmodel.datasets.windows`).

Shape legend: K frames of a track, F frames that are read, W windows, H height, W width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from worldmodel.datasets.nearest import nearest
from worldmodel.datasets.timing import mean_step


class Track(ABC):
    """The frames of one camera in one drive, numbered 0 .. K-1 in the order in which they were taken.

    Attributes:
        camera: its name.
        times_s: capture times in seconds [K]; which moment is 0 is the source's own.
        joined: whether frame k + 1 follows frame k with none missing between [K-1].
    """

    camera: str
    times_s: Float64[np.ndarray, "K"]
    joined: Bool[np.ndarray, "K-1"]

    @abstractmethod
    def read(
        self, frames: Sequence[int], size: tuple[int, int], resample: str = "area"
    ) -> UInt8[np.ndarray, "F 3 H W"]:
        """Frames by number, in the order asked for, cropped at the centre to the aspect of `size` and scaled to it.

        Raises:
            InputError: a frame cannot be read.
        """

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def step_s(self) -> float:
        """Mean distance of two frames in seconds, without gaps; 0.0 for a single frame."""
        return mean_step(np.diff(self.times_s))

    def nearest(self, times_s: Float64[np.ndarray, "F"]) -> Int64[np.ndarray, "F"]:
        """Numbers of the frames nearest to these times."""
        return nearest(self.times_s, times_s)

    def runs(self) -> list[range]:
        """The runs of frames between the gaps."""
        edges = [0, *(np.flatnonzero(~self.joined) + 1).tolist(), len(self)]
        return [range(first, end) for first, end in zip(edges[:-1], edges[1:], strict=True) if end > first]

    def has_run(self, starts: Int64[np.ndarray, "W"], length: int) -> Bool[np.ndarray, "W"]:
        """Whether `length` frames from each of these numbers on are there without a gap."""
        gaps_before = np.concatenate([[0], np.cumsum(~self.joined)])
        inside = (starts >= 0) & (starts + length <= len(self))
        first = np.where(inside, starts, 0)
        last = np.minimum(first + length - 1, len(gaps_before) - 1)
        joined: np.ndarray = inside & (gaps_before[last] == gaps_before[first])
        return joined

    def windows(self, length: int, stride: int = 1) -> list[int]:
        """First frames of windows of `length` frames without a gap: each the next possible one `stride` further on."""
        return spaced(self.has_run(np.arange(max(0, len(self) - length + 1)), length), stride)


def windows_in(run: range, length: int, stride: int) -> range:
    """First frames of all windows of `length` frames of a run without gaps, every `stride` frames."""
    return range(run.start, run.stop - length + 1, stride)


def spaced(possible: Bool[np.ndarray, "K"], stride: int) -> list[int]:
    """Of the numbers at which a window may begin, the first, and always the next that is `stride` or more behind it."""
    chosen: list[int] = []
    numbers, earliest = np.flatnonzero(possible), 0
    while (place := int(np.searchsorted(numbers, earliest))) < len(numbers):
        chosen.append(int(numbers[place]))
        earliest = chosen[-1] + stride
    return chosen
