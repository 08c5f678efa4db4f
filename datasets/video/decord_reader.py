"""decord as another way to read a video, for those who ask for it; the default is `VideoReader`.

Legend: F frames, H height, W width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from worldmodel.datasets.resize import crop_box
from worldmodel.datasets.video.file import Numbers, VideoFile, asked
from worldmodel.datasets.video.index import VideoIndex, video_streams
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError, MissingDependency, first_line

SOUND_IN = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


class DecordReader(VideoReader):
    """One video file, read by decord 0.6 and numbered by `VideoFile.index()`. Holds no open file.

    Known faults, all measured (25 random starts of 34 frames against FFmpeg): 7 wrong starts in a video with open
    groups of pictures, 23 in one with an edit list; in MPEG-TS even frame 0 is another. Such videos are refused, and
    all in which decord has another number of frames than the index, or other times for them; also files with several
    video streams, as decord chooses by another rule, and containers other than MP4 and Matroska.
    Damage it does not notice. While a decord reader is open it decodes on in the background and grows (850 MB in 4 s),
    so none is left open here. decord has had no release since 2021; it has no wheels for arm64, and opens neither AV1
    nor raw H.264.

    Args:
        path: the file.
        threads: decoder threads.

    Raises:
        MissingDependency: decord is not installed.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        super().__init__(path, threads)
        self._shown_size: tuple[int, int] | None = None
        self._agreed = False
        installed_decord()

    def index(self) -> VideoIndex:
        """As `VideoFile.index`.

        Raises:
            InputError: also where decord is known to give wrong frames, cannot open it, or finds other frames in it.
        """
        index = super().index()
        if not self._agreed:
            self._compare(index)
            self._agreed = True
        return index

    def arrays(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[np.ndarray]:
        """As `VideoFile.arrays`, scaled by bicubic interpolation in decord's own decoding."""
        wanted = asked(self.path, spans, len(self.index()))
        numbers = sorted({frame for span in wanted for frame in span})
        if not numbers:
            return []
        if self._shown_size is None:  # as displayed: upright, pixels square
            self._shown_size = VideoFile(self.path).arrays([[0]])[0].shape[2:]
        (height, width), (rows, columns) = _scaling(self._shown_size, size)
        with self._reader(width, height) as reader:
            frames_FHWC = reader.get_batch(numbers).asnumpy()[:, rows, columns]
        places = [np.searchsorted(numbers, span) for span in wanted]
        return [np.ascontiguousarray(frames_FHWC[place].transpose(0, 3, 1, 2)) for place in places]

    def _compare(self, index: VideoIndex) -> None:
        with self.open_container() as container:
            name, several = container.format.name, len(video_streams(container, self.path)) > 1
        if name not in SOUND_IN:
            raise self._refused("decord is known to find the right frames in MP4, MOV, Matroska and WebM only")
        if several:
            raise self._refused("has several films, of which decord may take another")
        if not index.stamped:
            raise self._refused("its time stamps do not tell the order of its frames, on which decord relies")
        if index.open_groups:
            raise self._refused("has open groups of pictures, in which decord gives wrong frames")
        with self._reader(64, 64) as reader:
            frames = len(reader)
            times_s = reader.get_frame_timestamp(np.arange(frames))[:, 0].astype(np.float64)
        if frames != len(index):
            raise self._refused(f"decord finds {frames} frames where {len(index)} are shown, as by an edit list")
        apart_s = np.abs((times_s - times_s[0]) - (index.times_s - index.times_s[0]))
        if apart_s.max() > 0.25 / (index.frame_rate or 1.0):
            raise self._refused(f"decord has another time for frame {int(apart_s.argmax())}")

    @contextmanager
    def _reader(self, width: int, height: int) -> Iterator[Any]:
        decord = installed_decord()
        try:
            yield decord.VideoReader(
                str(self.path.resolve()), ctx=decord.cpu(0), width=width, height=height, num_threads=self.threads
            )
        except (decord.base.DECORDError, RuntimeError) as error:
            reason = first_line(error, 1000)
            raise self._refused(f"decord cannot read it ({reason})") from error

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self.path}: {why}; use video_reader=pyav")


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


def installed_decord() -> ModuleType:
    """decord itself.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MissingDependency(
            f"video_reader=decord: it is not installed ({error}); run `pip install worldmodel[decord]`"
        ) from error
    module: ModuleType = decord
    return module
