"""A video's frames as tensors, by one of the ways to read it.

Legend: F frames, H height, W width. What the pictures are: see `video_file`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.datasets.video.file import Numbers, VideoFile
from worldmodel.errors import InputError


class VideoSource(VideoFile):
    """One video file as tensors, read by PyAV."""

    def read(self, frames: Numbers, size: tuple[int, int] | None = None) -> UInt8[Tensor, "F 3 H W"]:
        """The frames of these numbers, in the order asked for, repeats allowed; otherwise as `VideoFile.arrays`."""
        return self.read_spans([frames], size)[0]

    def read_spans(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[Tensor]:
        """Several runs of frames with the file opened once, each UInt8 [F, 3, H, W]: see `VideoFile.arrays`."""
        return [torch.from_numpy(video_FCHW) for video_FCHW in self.arrays(spans, size)]


def open_video(path: str | Path, reader: str = "pyav", threads: int = 1) -> VideoSource:
    """One video file, read by `pyav` or by `decord`. Nothing is opened yet.

    Raises:
        InputError: another reader's name.
        MissingDependency: decord is not installed.
    """
    return reading_by(reader)(path, threads)


def reading_by(reader: str) -> type[VideoSource]:
    """The class that reads by `pyav` or by `decord`; raises `InputError` as `open_video`."""
    if reader == "pyav":
        return VideoSource
    if reader == "decord":
        from worldmodel.datasets.video.decord_reader import DecordSource, installed_decord

        installed_decord()
        return DecordSource
    raise InputError(f"video_reader={reader!r} is unknown; use pyav or decord")
