"""Lists of videos with captions, one row at a time: OpenVid's CSV files and the layouts people already have.

OpenVid's columns (as its repository and mirrors have them): video, caption, then scores, camera motion, frame, fps and
seconds. Columns go by name; case, spaces and underscores do not matter. Nothing is loaded whole.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO, TypeVar

from worldmodel.datasets.video.media_files import VIDEOS, media_below
from worldmodel.errors import InputError
from worldmodel.files import text_file

VIDEO_COLUMNS = ("video", "mediapath", "videopath", "file", "filename")
# What says what the video shows comes before `prompt`, which in lists with both is what a captioning model was asked.
CAPTION_COLUMNS = ("caption", "captions", "text", "description", "prompt")
CAPTION_FILES = ("captions.txt", "caption.txt", "prompts.txt", "prompt.txt")
ValueT = TypeVar("ValueT")
LONGEST_CELL = 2**24  # bytes; captions of a million videos hold a few long ones


@dataclass(frozen=True)
class VideoEntry:
    """One row of a list.

    Attributes:
        video: the file's name or path as the list has it.
        caption: its text, empty where there is none.
        facts: the other columns as they stand (aesthetic score, fps, seconds, ...), by name.
    """

    video: str
    caption: str = ""
    facts: dict[str, str] = field(default_factory=dict)


def read_list(path: str | Path) -> Iterator[VideoEntry]:
    """The videos of a CSV, a JSONL, a text file with one path a line, or a folder searched through.

    Beside a text file, `captions.txt`, `caption.txt`, `prompts.txt` or `prompt.txt` gives the captions, line by line.

    Raises:
        InputError: nothing there, another kind of file, a column is missing, a broken row or one that is no UTF-8 (with
            its line), or captions that do not match the videos. Raised when the row is reached.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path)
    readers = {".csv": _of_csv, ".jsonl": _of_jsonl, ".txt": _of_text}
    if not path.is_file() or path.suffix.lower() not in readers:
        raise InputError(f"{path}: no list of videos; give a .csv, .jsonl or .txt file, or a folder of videos")
    return readers[path.suffix.lower()](path)


def _of_folder(folder: Path) -> Iterator[VideoEntry]:
    videos = sorted(media_below(folder, VIDEOS))
    if not videos:
        raise InputError(f"{folder}: no videos (.mp4, .mkv, ...) in it; check the path")
    return (VideoEntry(str(file.relative_to(folder))) for file in videos)


def _of_csv(path: Path) -> Iterator[VideoEntry]:
    csv.field_size_limit(LONGEST_CELL)
    with text_file(path, newline="") as opened:
        rows = _rows(opened, path)
        _, header = next(rows, (1, []))
        named = {name: at for at, name in enumerate(header)}
        video, caption = _first_of(VIDEO_COLUMNS, named), _first_of(CAPTION_COLUMNS, named)
        if video is None:
            given = ", ".join(header) or "none"
            raise InputError(f"{path}: no column 'video' among {given}; name it in the first line")
        for line, row in rows:
            if len(row) != len(header):
                raise InputError(
                    f"{path}:{line}: {len(row)} cells, the header has {len(header)}; mend or take out the row"
                )
            others = {name: row[at] for at, name in enumerate(header) if at not in (video, caption)}
            yield VideoEntry(row[video], "" if caption is None else row[caption], others)


def _rows(opened: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its last line."""
    rows = csv.reader(opened)
    try:
        yield from ((rows.line_num, row) for row in rows if row)
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num + 1}: no row of a CSV ({error}); mend or take out the row") from None


def _first_of(names: tuple[str, ...], named: dict[str, ValueT]) -> ValueT | None:
    """What stands under the first of `names` that is there, however it is spelt."""
    plain = {_plain(name): value for name, value in named.items()}
    return next((plain[name] for name in names if name in plain), None)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _of_jsonl(path: Path) -> Iterator[VideoEntry]:
    with text_file(path) as opened:
        for line, text in enumerate(opened, start=1):
            if not text.strip():
                continue
            row = _object(text, f"{path}:{line}")
            keys = {key: key for key in row}
            video, caption = _first_of(VIDEO_COLUMNS, keys), _first_of(CAPTION_COLUMNS, keys)
            if video is None:
                raise InputError(f"{path}:{line}: no key 'media_path' or 'video'; add it")
            others = {key: str(value) for key, value in row.items() if key not in (video, caption)}
            yield VideoEntry(str(row[video]), "" if caption is None else str(row[caption]), others)


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({getattr(error, 'msg', error)}); mend or take out the line") from error
    if not isinstance(row, dict):
        raise InputError(f'{place}: not a JSON object; write {{"media_path": ..., "caption": ...}}')
    return row


def _of_text(path: Path) -> Iterator[VideoEntry]:
    videos = _lines(path)
    beside = next((path.with_name(name) for name in CAPTION_FILES if path.with_name(name).is_file()), None)
    if beside is None or beside == path:
        return (VideoEntry(video) for video in videos)
    return _with_captions(videos, _lines(beside), path, beside)


def _with_captions(videos: Iterable[str], captions: Iterable[str], path: Path, beside: Path) -> Iterator[VideoEntry]:
    for line, (video, caption) in enumerate(zip_longest(videos, captions), start=1):
        if video is None or caption is None:
            ended, longer = (path, beside) if video is None else (beside, path)
            raise InputError(f"{ended}: ends before line {line}, {longer.name} goes on; give both the same lines")
        yield VideoEntry(video, caption)


def _lines(path: Path) -> Iterator[str]:
    with text_file(path) as opened:
        lines = (line.strip() for line in opened)
        yield from (line for line in lines if line)
