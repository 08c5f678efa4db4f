"""Hashes of weight files, reckoned by one process of a launch and told to the others.

A launch of eight processes would else read the same hundreds of megabytes eight times, some files for three metrics.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

Known = dict[tuple[str, str, int, int], str]
"""Hash by kind, and by the path, size in bytes and time in ns of the file that it was reckoned from."""

_KNOWN: ContextVar[Known | None] = ContextVar("known", default=None)


@contextmanager
def hashed_once() -> Iterator[None]:
    """All processes of a launch enter it; the first one leaves it before the others begin, which then know its hashes.

    A file of another size or time than the first process saw (another machine's own copy, one replaced since) is
    another file: it is hashed where it lies. An error of the first process keeps no other waiting.
    """
    state = PartialState()
    known: Known = {} if state.is_main_process else broadcast_object_list([None])[0]
    token, failed = _KNOWN.set(known), None
    try:
        yield
    except Exception as error:
        failed = error
    finally:
        _KNOWN.reset(token)
    if state.is_main_process:
        broadcast_object_list([known])
    if failed is not None:
        raise failed


def known_hash(kind: str, path: Path, reckon: Callable[[Path], str]) -> str:
    """`reckon(path)`, or what is known of this file within `hashed_once`; `kind` says what is reckoned."""
    known = _KNOWN.get()
    if known is None:
        return reckon(path)
    about = path.stat()
    key = (kind, str(path), about.st_size, about.st_mtime_ns)
    if key not in known:
        known[key] = reckon(path)
    return known[key]
