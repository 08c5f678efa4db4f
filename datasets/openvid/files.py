"""Where the videos of a list are: in folders, or in zip archives, whole or split into parts.

OpenVid is published as some two hundred zips; the largest are split into pieces (`..._partaa`, `..._partab`), which
are read as one file without joining them on disk.
"""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from worldmodel.datasets.openvid.archives import find_archives, members, opened
from worldmodel.datasets.video.media_files import VIDEOS, is_media, media_below
from worldmodel.errors import InputError
from worldmodel.files import is_kept, written_whole

PlaceT = TypeVar("PlaceT")
ByName = dict[str, list[tuple[PurePath, PlaceT]]]
"""Base name -> every path that ends in it, with where that is."""


class VideoFiles:
    """Finds videos by the name or path that a list has.

    A path in a list is the whole path below a folder or in an archive, or the end of exactly one such path; a bare name
    is searched for everywhere and must be there once. Folders come before archives. A file that is met twice, as where
    a path is absolute or one folder lies in another, counts once.

    Args:
        folders: searched with the folders in them.
        archives: zip files, or folders with zip files and pieces of them.
        extract_to: folder that archived videos are written to when they are asked for, each below a folder of its
            archive.

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
        self.archives = [archive for given in archives for archive in find_archives(Path(given))]
        self.extract_to = None if extract_to is None else Path(extract_to)
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder of videos; check the path")
        if self.archives and self.extract_to is None:
            raise InputError("videos in archives need a folder to be extracted to: give extract_to")

    def check_archives(self) -> None:
        """Read the archives' directories now. Raises `InputError` for one that is not whole."""
        _ = self._members

    def find(self, video: str) -> Path | None:
        """The video's file, extracted first where an archive holds it; None where nothing has it.

        Raises:
            InputError: several files answer to the name, or its member of an archive cannot be read.
        """
        exact = [folder / video for folder in self.folders if (folder / video).is_file()]
        if files := exact or _ending_in(video, self._files):
            return _the_one(video, list({file.resolve(): file for file in files}.values()))
        held = self._held(video)
        return None if held is None else self._extracted(*held)

    def _held(self, video: str) -> tuple[int, zipfile.ZipInfo] | None:
        """Number of the archive, and the member in it."""
        members = _ending_in(video, self._members)
        exact = [(number, member) for number, member in members if member.filename == video]
        if not members:
            return None
        places = {
            f"{self.archives[number][0]}: {member.filename}": (number, member) for number, member in exact or members
        }
        return places[str(_the_one(video, list(places)))]

    @cached_property
    def _files(self) -> ByName[Path]:
        below = ((folder, file) for folder in self.folders for file in media_below(folder, VIDEOS))
        return _by_name((file.relative_to(folder), file) for folder, file in below)

    @cached_property
    def _members(self) -> ByName[tuple[int, zipfile.ZipInfo]]:
        """From the archives' directories alone."""
        held = ((number, member) for number, pieces in enumerate(self.archives) for member in members(pieces))
        paths = ((PurePosixPath(member.filename), (number, member)) for number, member in held)
        return _by_name((path, place) for path, place in paths if is_media(path, VIDEOS))

    def _extracted(self, number: int, member: zipfile.ZipInfo) -> Path:
        assert self.extract_to is not None
        pieces = self.archives[number]
        target = self.extract_to / _folder_of(pieces[0]) / _inside(member.filename)
        if is_kept(target) and target.stat().st_size == member.file_size:
            return target
        try:
            with opened(pieces) as archive, archive.open(member) as packed, written_whole(target) as part:
                with part.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 2**20)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError) as error:
            if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno):
                raise  # the disk's own trouble is not the member's
            raise InputError(f"{pieces[0]}: {member.filename} cannot be extracted ({error}); fetch it again") from error
        return target


def _by_name(places: Iterable[tuple[PurePath, PlaceT]]) -> ByName[PlaceT]:
    by_name: ByName[PlaceT] = {}
    for path, place in places:
        by_name.setdefault(path.name, []).append((path, place))
    return by_name


def _ending_in(video: str, by_name: ByName[PlaceT]) -> list[PlaceT]:
    """What lies at the paths that end in this one, whole names compared."""
    wanted = PurePosixPath(video).parts
    return [place for path, place in by_name.get(PurePosixPath(video).name, []) if path.parts[-len(wanted) :] == wanted]


def _the_one(video: str, found: Sequence[PlaceT]) -> PlaceT:
    if len(found) > 1:
        raise InputError(f"{video}: {found[0]} and {found[1]} both answer to it; write the path in the list")
    return found[0]


def _folder_of(archive: Path) -> str:
    """A folder name of this archive alone: two of one name in two folders hold other videos."""
    return f"{archive.stem}-{hashlib.sha256(str(archive.resolve()).encode()).hexdigest()[:8]}"


def _inside(member: str) -> Path:
    """The member's path, kept inside the folder it is extracted to."""
    return Path(*(part for part in PurePosixPath(member).parts if part not in ("/", "..")))
