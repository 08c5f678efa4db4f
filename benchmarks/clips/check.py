"""Whether a stored clip list is what some data give, and whether its frames are there and unaltered."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.benchmarks.clips.clip_list import Clip, ClipList
from worldmodel.errors import InputError
from worldmodel.files import file_sha256

if TYPE_CHECKING:
    from worldmodel.datasets.openvid import VideoFiles

READERS = 4  # threads; hashing lets the others run


def refuse_difference(path: Path, stored: ClipList, fresh: ClipList) -> None:
    """Raises InputError, naming the first clip that differs, where the two lists are not of the same frames."""
    if stored.sha256 == fresh.sha256:
        return
    if dict(stored.source) != dict(fresh.source):
        raise InputError(f"{path}: was built from {dict(stored.source)}, here is {dict(fresh.source)}; use its data")
    pairs = enumerate(zip(stored.clips, fresh.clips, strict=False))
    number = next((k for k, (old, new) in pairs if (old.scene, old.views) != (new.scene, new.views)), None)
    if number is None:
        raise InputError(f"{path}: {len(stored)} clips, these data give {len(fresh)}; use the data it was built from")
    old, new = _named(stored.clips[number]), _named(fresh.clips[number])
    raise InputError(f"{path}: clip {number} is {old}, these data give {new}; use the data it was built from")


def _named(clip: Clip) -> str:
    return f"{clip.scene} from {clip.lead.frames[0]}"


def check_files(path: Path, stored: ClipList, root: str | Path, read_bytes: bool) -> None:
    """Raises InputError, with a number and the first name, where files are missing, empty or, if read, altered."""
    if read_bytes and not stored.frame_hashes:
        raise InputError(f"{path}: was built without hash_frames; check it without, or build it with hash_frames=true")
    places = locate(stored, root)
    empty = [file for file, place in places.items() if place.stat().st_size == 0]
    if empty:
        raise InputError(f"{path}: {len(empty)} files are empty, such as {places[empty[0]]}; copy them again")
    if not read_bytes:
        return
    now = _hashes(places)
    altered = [file for file in stored.files if now[file] != stored.frame_hashes.get(file)]
    if altered:
        raise InputError(f"{path}: {len(altered)} files were altered, such as {places[altered[0]]}; restore them")


def locate(chosen: ClipList, root: "str | Path | VideoFiles") -> dict[str, Path]:
    """Where each file of a list lies; raises InputError, with their number and the first, where some do not."""
    find = _pictures(Path(root)) if chosen.tables and isinstance(root, str | Path) else _videos(root)
    places = {file: find(file) for file in chosen.files}
    present = {file: place for file, place in places.items() if place is not None and place.is_file()}
    if len(present) < len(places):
        first = next(file for file in places if file not in present)
        raise InputError(
            f"{chosen.label}: {len(places) - len(present):,} of {len(places):,} files are not below {root}, such as"
            f" {first}; fetch the archives that hold them"
        )
    return present


def _pictures(root: Path) -> Callable[[str], Path | None]:
    return lambda file: root / file


def _videos(root: "str | Path | VideoFiles") -> Callable[[str], Path | None]:
    from worldmodel.datasets.openvid import VideoFiles

    return (root if isinstance(root, VideoFiles) else VideoFiles([root])).find


def file_hashes(chosen: ClipList, root: str | Path) -> dict[str, str]:
    """sha256 of the bytes of every file of a list, by its name in the list."""
    return _hashes(locate(chosen, root))


def _hashes(found: dict[str, Path]) -> dict[str, str]:
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(found, pool.map(file_sha256, found.values()), strict=True))
