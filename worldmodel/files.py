"""Files that appear whole or not at all."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from worldmodel.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

KeptT = TypeVar("KeptT")


def cache_folder() -> Path:
    """What can be made again: `$WORLDMODEL_CACHE`, or ~/.cache/worldmodel.

    Raises:
        InputError: neither; a container's user may have no home folder.
    """
    try:
        return expanded(os.environ.get("WORLDMODEL_CACHE") or "~/.cache/worldmodel")
    except InputError:
        raise InputError("no place for a cache: this user has no home folder; set WORLDMODEL_CACHE, or HOME") from None


def expanded(path: str | Path) -> Path:
    """A path that begins with ``~`` as the one that is meant; a name that only looks so stays what it is.

    Raises:
        InputError: this user has no home folder.
    """
    place = os.path.expanduser(path)  # `Path.expanduser` raises for a folder that is called `~old`, too
    if place == "~" or place.startswith("~/"):
        raise InputError(f"{path}: this user has no home folder; write the whole path, or set HOME")
    return Path(place)


def media_url(path: str | Path) -> str:
    """A file's name as FFmpeg takes it: without the prefix, `14:30:15.mp4` is an address of the protocol `14`."""
    return f"file:{path}"


@contextmanager
def written_whole(path: str | Path, suffix: str = "") -> Iterator[Path]:
    """A temporary file or folder name beside `path`; it takes the name `path` when the block ends well.

    The name has the process and a random token in it: processes of several machines may write the same `path`. What
    is written can be read by whom the umask and the folder let, whatever the writing library thinks of that.

    Raises:
        InputError: `path` does not end in `suffix`, or its folder cannot be made.
    """
    path = Path(path)
    if suffix and path.suffix != suffix:
        raise InputError(f"{path}: this output needs a name ending in {suffix}; use {path.with_suffix(suffix)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: {error.strerror}; give a folder that can be written") from None
    partial = path.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield partial
        share(partial)
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def share(written: Path) -> None:
    """Give a file, or all files of a folder, the mode that any new file there has, by the umask and the folder's rules.

    safetensors makes its files for their owner alone (0600). A plain file is made and looked at: the umask is known to
    the kernel alone, and asking for it sets it, for all threads.
    """
    plain = written.with_name(f".partial-{os.getpid()}-{secrets.token_hex(4)}-mode")
    plain.touch(mode=0o666)
    mode = plain.stat().st_mode & 0o777
    plain.unlink()
    for path in written.rglob("*") if written.is_dir() else [written]:
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)


def is_kept(path: Path) -> bool:
    """Whether the file is there and can be read. Where it can be made anew, one that cannot counts as absent."""
    as_process = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    return os.path.isfile(path) and os.access(path, os.R_OK, **as_process)  # `Path.is_file` raises below closed folders


def kept(
    path: Path | None, read: Callable[[Path], KeptT], make: Callable[[], KeptT], write: Callable[[Path, KeptT], object]
) -> KeptT:
    """What a cache's file holds, else what `make` gives, kept there for the next time.

    Args:
        path: where it is kept; None keeps nothing. What cannot be read (damaged, another user's, no file) counts as
            absent, and where this user may not write nothing is kept.
        read, write: of the file; `write` is given a temporary name.
    """
    if path is not None and is_kept(path):
        try:
            return read(path)
        except (OSError, ValueError, LookupError, TypeError, EOFError):  # as json and numpy say that a file is damaged
            pass
    made = make()
    if path is not None:
        with _nothing_to_write_to(), written_whole(path) as part:
            write(part, made)
    return made


@contextmanager
def _nothing_to_write_to() -> Iterator[None]:
    """Pass over a place that this user may not write to; a full disk stays an error."""
    try:
        yield
    except InputError:  # of `written_whole`: the folder cannot be made
        pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR):
            raise


@contextmanager
def text_file(path: str | Path, newline: str | None = None) -> Iterator[TextIO]:
    """A text file that somebody else wrote, opened to read as UTF-8, with or without a byte order mark.

    Args:
        newline: as `open` takes it.

    Raises:
        InputError: it cannot be opened, or a line is no UTF-8; says which line and how to mend it. Raised within the
            block, when the line is reached.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline=newline) as opened:
            yield opened
    except UnicodeDecodeError:
        raise InputError(
            f"{path}:{_line_of_other_encoding(Path(path))}: not UTF-8 text; save the file as UTF-8"
        ) from None
    except OSError as error:
        if error.filename != str(path):
            raise
        raise InputError(f"{path}: {error.strerror}; give a text file that can be read") from None


def _line_of_other_encoding(path: Path) -> int:
    """Number of the first line that is no UTF-8, from 1."""
    with path.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return number
    return 1


def remove_partial(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of `written_whole`; only where no other process writes those names now."""
    for path in folder.glob(f".partial-*-{name}"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def replace_folder(new: Path, place: Path) -> Path:
    """Put the folder `new` where `place` is; at every moment one of the two is whole."""
    share(new)
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return place


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's content, in hexadecimal."""
    return file_digest(path, hashlib.sha256())


def file_digest(path: str | Path, digest: "hashlib._Hash") -> str:
    """`digest` after a file's content, in hexadecimal; it may have seen something before."""
    with Path(path).open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def new_folder(out: Path, what: str, card: str, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well; an earlier one goes only then.

    Args:
        what: is written there, in words. card: name of the file by which an earlier one is known.

    Raises:
        InputError: `out` is there and not empty, and has no such file or `overwrite` was not said.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / card).is_file():
            raise InputError(f"out={out}: exists and is no earlier {what}; choose another folder")
        if not overwrite:
            raise InputError(f"out={out}: holds an earlier {what}; choose another folder or say overwrite=true")
    replaced = out.with_name(f".replaced-{os.getpid()}-{out.name}")
    with written_whole(out, "") as partial:
        partial.mkdir()
        yield partial
        if out.exists():
            out.rename(replaced)
    shutil.rmtree(replaced, ignore_errors=True)


def save_tensors(tensors: "dict[str, Tensor]", path: Path, said: dict[str, str] | None = None) -> None:
    """safetensors' `save_file`, `said` in its header; failures of the disk are the `OSError` that they are."""
    from safetensors.torch import save_file

    with disk_errors(path):
        save_file(tensors, path, metadata=said)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `InputError` that names the file."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}); restore it") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: a JSON object is expected; restore it")
    return value


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn safetensors' own errors about files into an `OSError` with its number and the path."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
