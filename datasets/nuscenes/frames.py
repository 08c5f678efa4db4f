"""Pictures and calibration of rows of `sample_data`, at one size.

Shape legend: N cameras, L frames of each, R rows, H height, W width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from worldmodel.datasets.images import RESAMPLES, adjust_intrinsics, picture_size, read_image
from worldmodel.datasets.nuscenes.geometry import intrinsics
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.errors import InputError


@dataclass(frozen=True)
class SampleFrames:
    """The frames of a nuScenes-format dataset as they come out of `read_image`. Pickles as the index's path.

    Attributes:
        size: (H, W). resample: see `worldmodel.datasets.images.read_image`.

    Raises:
        InputError: a size or a way of resampling that makes no sense.
    """

    index: NuScenesIndex
    size: tuple[int, int]
    resample: str = "area"

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(f"size={self.size} must be (height, width) in pixels")
        if self.resample not in RESAMPLES:
            raise InputError(f"resample={self.resample!r} is unknown; use one of {', '.join(RESAMPLES)}")

    def path(self, row: int) -> str:
        """The picture's file."""
        return f"{self.index.root}/{self.index.text('sample_data', 'filename', row)}"

    def read_one(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
        """One picture; an `InputError` about it names its record."""
        try:
            return read_image(self.path(row), self.size, self.resample)
        except InputError as why:
            raise InputError(f"{why} (sample_data {self.index.token('sample_data', row)})") from None

    def read(self, rows: np.ndarray) -> UInt8[np.ndarray, "*rows 3 H W"]:
        """The pictures of rows of any shape."""
        frames = np.empty((*rows.shape, 3, *self.size), dtype=np.uint8)
        for place in np.ndindex(*rows.shape):
            frames[place] = self.read_one(int(rows[place])).transpose(2, 0, 1)
        return frames

    def intrinsics(self, rows_N: np.ndarray) -> Float64[np.ndarray, "N 3 3"] | None:
        """Pinhole matrices in pixels of these frames; None where a camera of the rig is not calibrated."""
        raw_N33 = intrinsics(self.index, rows_N)
        if np.isnan(raw_N33).any():
            return None
        sizes = [self._picture_size(row) for row in rows_N.tolist()]
        return np.stack([adjust_intrinsics(k, w, h, self.size) for k, (w, h) in zip(raw_N33, sizes, strict=True)])

    def _picture_size(self, row: int) -> tuple[int, int]:
        """Width and height as the tables say, or the picture's own where they say none."""
        width, height = (int(self.index.column("sample_data", name)[row]) for name in ("width", "height"))
        return (width, height) if width > 0 and height > 0 else picture_size(self.path(row))
