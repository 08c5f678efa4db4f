"""Zip archives, whole or in pieces, as they are published: their directories, and one opened to read."""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldmodel.errors import InputError

PIECE = re.compile(r"(.+)_part([a-z]{2})$")


def find_archives(path: Path) -> Iterator[tuple[Path, ...]]:
    """Each archive of a folder, or the one given, as its pieces in order; a whole one is one piece.

    Raises:
        InputError: nothing is there.
    """
    if path.is_dir():
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        files = sorted(file for file in visible if file.suffix.lower() == ".zip" or PIECE.fullmatch(file.name))
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"{path}: no such archive; give a zip file or a folder of them")
    split: dict[str, list[Path]] = {}
    for file in files:
        piece = PIECE.fullmatch(file.name)
        split.setdefault(piece[1] if piece else file.name, []).append(file)
    yield from (tuple(pieces) for pieces in split.values())


def members(pieces: tuple[Path, ...]) -> list[zipfile.ZipInfo]:
    """What an archive's directory lists."""
    with opened(pieces) as archive:
        return archive.infolist()


@contextmanager
def opened(pieces: tuple[Path, ...]) -> Iterator[zipfile.ZipFile]:
    """An archive to read. Raises `InputError` where it is not whole."""
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
