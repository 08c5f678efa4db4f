"""Videos whose frame index is kept on disk: to find it FFmpeg reads the whole file.

Legend: F frames of the file.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from worldmodel.datasets.video.decord_reader import DecordReader
from worldmodel.datasets.video.index import VideoIndex
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.files import kept

VERSION = 2  # of the layout and of how a video is indexed; part of every kept file's name
ROW = np.dtype([("times_s", "<f8"), ("pts", "<i8"), ("dts", "<i8"), ("keys", "?"), ("stamped", "?"), ("stream", "<i4")])


class IndexedVideo(VideoReader):
    """A `VideoReader` whose index is looked up in the folder `cache` and, where it is not there, found and kept.

    The file there has one row a frame; its name follows from the video's path, size and time of change.
    """

    def __init__(self, path: str | Path, cache: Path, threads: int = 1) -> None:
        super().__init__(path, threads)
        self.cache = cache

    def index(self) -> VideoIndex:
        """As `VideoReader.index`."""
        if self._index is None and self.path.is_file():
            place = self.cache / f"{_key(self.path)}.npy"
            self._index = kept(place, lambda path: _of_rows(np.load(path)), super().index, _write)
        return super().index()


class IndexedDecord(IndexedVideo, DecordReader):
    """The same, read by decord."""


def _write(place: Path, index: VideoIndex) -> None:
    rows_F = np.empty(len(index), ROW)
    for name in ROW.names or ():
        rows_F[name] = getattr(index, name)
    with place.open("wb") as file:
        np.save(file, rows_F)


def _of_rows(rows_F: np.ndarray) -> VideoIndex:
    times_s, pts, dts, keys = (np.ascontiguousarray(rows_F[name]) for name in ("times_s", "pts", "dts", "keys"))
    return VideoIndex(times_s, keys, pts, dts, bool(rows_F["stamped"].all()), int(rows_F["stream"][0]))


def _key(path: Path) -> str:
    state = path.stat()
    identity = [str(path.resolve()), state.st_size, state.st_mtime_ns, VERSION]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
