"""decord as another way to read a video, for those who ask for it; the default is `video.VideoSource`.

Legend: F frames, H height, W width.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.datasets.fitting import crop_box
from worldmodel.datasets.video import VideoSource
from worldmodel.datasets.video_file import Numbers, asked
from worldmodel.datasets.video_index import VideoIndex
from worldmodel.errors import InputError


class DecordSource:
    """One video file, read by decord 0.6 and numbered by `VideoSource.index()`. Holds no open file.

    Known faults, all measured (25 random starts of 34 frames against FFmpeg): 7 wrong starts in a film with open
    groups of pictures, 23 in one with an edit list. What `read` can notice, it refuses: another number of frames than
    the index has. It cannot notice the wrong pictures of open groups, nor damage. While a decord reader is open it
    decodes on in the background and grows (850 MB in 4 s), so none is left open here. decord has had no release since
    2021; it has no wheels for arm64, and opens neither AV1 nor raw H.264.

    Args:
        path: the file.
        threads: decoder threads.

    Raises:
        InputError: decord is not installed.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path, self.threads = Path(path), threads
        self._source = VideoSource(path, threads)
        self._shown: tuple[int, int] | None = None
        _decord()

    def index(self) -> VideoIndex:
        """As `VideoSource.index`."""
        return self._source.index()

    def read(self, frames: Numbers, size: tuple[int, int] | None = None) -> UInt8[Tensor, "F 3 H W"]:
        """As `VideoSource.read`, scaled by bicubic interpolation in decord's own decoding.

        Raises:
            InputError: a number outside the file, or decord cannot open it, decode it, or finds other frames in it.
        """
        return self.read_spans([frames], size)[0]

    def read_spans(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[Tensor]:
        """As `VideoSource.read_spans`: a list of UInt8 [F, 3, H, W]."""
        wanted = asked(self.path, spans, len(self.index()))
        numbers = sorted({frame for span in wanted for frame in span})
        if not numbers:
            return []
        (height, width), (rows, columns) = _scaling(self._shown_size(), size)
        frames_FHWC = self._batch(numbers, height, width)[:, rows, columns]
        places = [np.searchsorted(numbers, span) for span in wanted]
        return [torch.from_numpy(frames_FHWC[place].transpose(0, 3, 1, 2).copy()) for place in places]

    def _batch(self, numbers: list[int], height: int, width: int) -> UInt8[np.ndarray, "F H W 3"]:
        decord = _decord()
        try:
            reader = decord.VideoReader(
                str(self.path), ctx=decord.cpu(0), width=width, height=height, num_threads=self.threads
            )
            frames = len(reader)
            if frames == len(self.index()):
                return reader.get_batch(numbers).asnumpy()
        except (decord.base.DECORDError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{self.path}: decord cannot read it ({reason}); use reader=pyav") from error
        raise InputError(
            f"{self.path}: decord finds {frames} frames where {len(self.index())} are shown; use reader=pyav"
        )

    def _shown_size(self) -> tuple[int, int]:
        """(H, W) as displayed: upright, pixels square."""
        if self._shown is None:
            height, width = self._source.read([0]).shape[2:]
            self._shown = (height, width)
        return self._shown


def _scaling(shown: tuple[int, int], size: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """(H, W) to scale the whole picture to, and the rows and columns of the centre to keep of it."""
    if size is None:
        return shown, (slice(None), slice(None))
    left, top, right, bottom = crop_box(shown[1], shown[0], *size)
    down, across = size[0] / (bottom - top), size[1] / (right - left)
    first_row, first_column = round(top * down), round(left * across)
    height, width = max(round(shown[0] * down), size[0]), max(round(shown[1] * across), size[1])
    first_row, first_column = min(first_row, height - size[0]), min(first_column, width - size[1])
    return (height, width), (slice(first_row, first_row + size[0]), slice(first_column, first_column + size[1]))


def _decord() -> ModuleType:
    try:
        import decord
    except ImportError as error:
        raise InputError(f"reader=decord is not installed ({error}); run `pip install decord`") from error
    return decord
