"""Where the videos of a list are: in folders, or in zip archives, whole or split into parts.

OpenVid is published as some two hundred zips; the largest are split into pieces (`..._partaa`, `..._partab`), which
are read here as one file without joining them on disk.
"""

import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from worldmodel.datasets.footage import VIDEOS
from worldmodel.errors import InputError
from worldmodel.files import written_whole

PIECE = re.compile(r"(.+)_part([a-z]{2})$")


class VideoFiles:
    """Finds videos by the name or path that a list has.

    Args:
        folders: searched first; a path below one of them, then a file of that name anywhere below.
        archives: zip files, or folders with zip files and pieces of them.
        extract_to: folder that archived videos are written to when they are asked for.

    Raises:
        InputError: a folder or an archive that is not there.
    """

    def __init__(
        self,
        folders: Sequence[str | Path] = (),
        archives: Sequence[str | Path] = (),
        extract_to: str | Path | None = None,
    ) -> None:
        self.folders = [Path(folder) for folder in folders]
        self.archives = [archive for given in archives for archive in _archives(Path(given))]
        self.extract_to = None if extract_to is None else Path(extract_to)
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder of videos; check the path")
        if self.archives and self.extract_to is None:
            raise InputError("videos in archives need a folder to be extracted to: give extract_to")

    def find(self, video: str) -> Path | None:
        """The video's file, extracted first where an archive holds it; None where nothing has it.

        Raises:
            InputError: its archive is damaged.
        """
        for folder in self.folders:
            if (folder / video).is_file():
                return folder / video
        name = Path(video).name
        if name in self._by_name:
            return self._by_name[name]
        return self._extracted(name) if name in self._members else None

    def archive_of(self, video: str) -> Path | None:
        """Which archive holds the video (of a split one, its first piece); None where none does."""
        held = self._members.get(Path(video).name)
        return None if held is None else self.archives[held[0]][0]

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        files = (file for folder in self.folders for file in folder.rglob("*") if file.suffix.lower() in VIDEOS)
        found: dict[str, Path] = {}
        for file in files:
            found.setdefault(file.name, file)
        return found

    @cached_property
    def _members(self) -> dict[str, tuple[int, str]]:
        """(number of the archive, name in it) by file name, from the archives' directories alone."""
        return {
            Path(member).name: (number, member)
            for number, pieces in enumerate(self.archives)
            for member in _names(pieces)
            if Path(member).suffix.lower() in VIDEOS
        }

    def _extracted(self, name: str) -> Path:
        assert self.extract_to is not None
        target = self.extract_to / name
        if target.is_file():
            return target
        number, member = self._members[name]
        pieces = self.archives[number]
        try:
            with _opened(pieces) as archive, archive.open(member) as packed, written_whole(target) as part:
                with part.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 2**20)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise InputError(f"{pieces[0]}: {name} cannot be extracted ({error}); fetch it again") from error
        return target


def _archives(path: Path) -> Iterator[tuple[Path, ...]]:
    """Each archive as its pieces in order; a whole one is one piece."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix == ".zip" or PIECE.fullmatch(file.name))
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"{path}: no such archive; give a zip file or a folder of them")
    split: dict[str, list[Path]] = {}
    for file in files:
        found = PIECE.fullmatch(file.name)
        split.setdefault(found[1] if found else file.name, []).append(file)
    yield from (tuple(pieces) for pieces in split.values())


def _names(pieces: tuple[Path, ...]) -> list[str]:
    with _opened(pieces) as archive:
        return archive.namelist()


@contextmanager
def _opened(pieces: tuple[Path, ...]) -> Iterator[zipfile.ZipFile]:
    with io.BufferedReader(Joined(pieces), 2**20) as joined:
        try:
            archive = zipfile.ZipFile(joined)
        except zipfile.BadZipFile as error:
            what = "not a whole zip" if len(pieces) == 1 else f"its {len(pieces)} pieces make no whole zip"
            raise InputError(f"{pieces[0]}: {what} ({error}); fetch what is missing") from error
        with archive:
            yield archive


class Joined(io.RawIOBase):
    """Files read as one, end to end."""

    def __init__(self, pieces: Sequence[Path]) -> None:
        self._pieces = [piece.open("rb") for piece in pieces]
        sizes = [piece.stat().st_size for piece in pieces]
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        self._size, self._at = sum(sizes), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number = max(n for n, start in enumerate(self._starts) if start <= self._at)
        self._pieces[number].seek(self._at - self._starts[number])
        read = self._pieces[number].readinto(buffer)
        self._at += read
        return read

    def close(self) -> None:
        for piece in self._pieces:
            piece.close()
        super().close()
