"""The readers of video files by the names that settings hold."""

from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError


def reader_class(name: str) -> type[VideoReader]:
    """The class of video files that reads by `pyav` or by `decord`.

    Raises:
        InputError: another reader's name.
        MissingDependency: decord is not installed.
    """
    if name == "pyav":
        return VideoReader
    if name == "decord":
        from worldmodel.datasets.video.decord_reader import DecordReader, installed_decord  # an extra

        installed_decord()
        return DecordReader
    raise InputError(f"video_reader={name!r} is unknown; use pyav or decord")
