"""Files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldmodel.errors import InputError


@contextmanager
def written_whole(path: str | Path, suffix: str) -> Iterator[Path]:
    """A temporary file or folder name beside `path`; it takes the name `path` when the block ends well.

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
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
