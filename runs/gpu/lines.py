"""Figures as JSON lines, one appended and on the disk as soon as it is there; what fails becomes a line as well."""

import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST = 900  # characters of an error


class Lines:
    """Appends to one file that several processes share.

    Attributes:
        path: of the file. stage: which every line says.
    """

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage, self._began = path, stage, time.perf_counter()

    def write(self, what: str, **figures: Any) -> None:
        """One line: stage, what, the figures, and the seconds since this process began the stage."""
        line = {"stage": self.stage, "what": what, **figures, "at_s": round(time.perf_counter() - self._began, 2)}
        text = json.dumps(line, default=str) + "\n"
        with self.path.open("a") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        print(text, end="", flush=True)

    @contextmanager
    def guard(self, what: str, **said: Any) -> Iterator[None]:
        """An error inside becomes a line, and what comes behind goes on."""
        try:
            yield
        except Exception as error:  # whatever it is: the next figure may still be had
            last = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(last))
            self.write(what, **said, error=f"{type(error).__name__}: {error}"[:LONGEST], where=where)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; one that was cut in the middle is left out."""
    found = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found
