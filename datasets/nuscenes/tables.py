"""The raw nuScenes tables: which of their columns we read, and how a JSON array is read piece by piece.

Format: nuScenes schema v1.0 (docs/schema_nuscenes.md of nutonomy/nuscenes-devkit). Columns that are not listed here are
skipped by the parser and cost nothing. Columns with a default may be absent, as they are in tables of other writers
(Lyft Level 5, TIER IV's T4, own vehicles); so may the table `log`.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from worldmodel.errors import InputError

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Rotation = list[float | Vector]  # a quaternion (w, x, y, z), or the nine numbers or three rows of a matrix
Time = int | float


class LogRecord(msgspec.Struct, gc=False):
    token: str
    logfile: str = ""
    vehicle: str = ""
    date_captured: str = ""
    location: str = ""


class SceneRecord(msgspec.Struct, gc=False):
    token: str
    name: str
    description: str = ""
    log_token: str = ""
    nbr_samples: int = 0
    first_sample_token: str = ""
    last_sample_token: str = ""


class SampleRecord(msgspec.Struct, gc=False):
    token: str
    timestamp: Time
    scene_token: str
    prev: str = ""
    next: str = ""


class SensorRecord(msgspec.Struct, gc=False):
    token: str
    channel: str
    modality: str


class CalibratedSensorRecord(msgspec.Struct, gc=False):
    token: str
    sensor_token: str
    translation: Vector
    rotation: Rotation
    camera_intrinsic: list[Vector] | None = None  # three rows, or none for lidar, radar and uncalibrated cameras


class EgoPoseRecord(msgspec.Struct, gc=False):
    token: str
    translation: Vector
    rotation: Quaternion
    timestamp: Time = 0


class TurnedEgoPoseRecord(EgoPoseRecord, gc=False):
    rotation: Rotation  # type: ignore[assignment]  # wider than in EgoPoseRecord


class SampleDataRecord(msgspec.Struct, gc=False):
    token: str
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: Time
    is_key_frame: bool
    filename: str
    prev: str
    next: str
    height: int = 0  # of the picture; 0 where the writer does not say
    width: int = 0


class RawTable(NamedTuple):
    """One raw table: its record type and, per token column, the table that the token points into.

    `optional` names the token columns that may be empty.
    """

    record: type[msgspec.Struct]
    references: dict[str, str]
    optional: tuple[str, ...] = ()


TABLES: dict[str, RawTable] = {
    "log": RawTable(LogRecord, {}),
    "scene": RawTable(
        SceneRecord,
        {"log_token": "log", "first_sample_token": "sample", "last_sample_token": "sample"},
        ("log_token", "first_sample_token", "last_sample_token"),
    ),
    "sample": RawTable(SampleRecord, {"scene_token": "scene", "prev": "sample", "next": "sample"}, ("prev", "next")),
    "sensor": RawTable(SensorRecord, {}),
    "calibrated_sensor": RawTable(CalibratedSensorRecord, {"sensor_token": "sensor"}),
    "ego_pose": RawTable(EgoPoseRecord, {}),
    "sample_data": RawTable(
        SampleDataRecord,
        {
            "sample_token": "sample",
            "ego_pose_token": "ego_pose",
            "calibrated_sensor_token": "calibrated_sensor",
            "prev": "sample_data",
            "next": "sample_data",
        },
        ("prev", "next"),
    ),
}
OTHERS: dict[type[msgspec.Struct], type[msgspec.Struct]] = {EgoPoseRecord: TurnedEgoPoseRecord}
"""What a record is read as where a table does not fit nuScenes' own type, which is parsed in 0.6 of the time."""
ABSENT = ("log",)
"""Tables that a version may lack."""

_BETWEEN_RECORDS = re.compile(rb"\}\s*,\s*(?=\{)")


def table_path(folder: Path, name: str) -> Path | None:
    """Path of one table, None where one that a version may lack is absent; raises InputError for any other."""
    path = folder / f"{name}.json"
    if path.is_file():
        return path
    if name in ABSENT:
        return None
    raise InputError(f"table {path} is missing; unpack the complete metadata archive of {folder.name}")


def read_values(path: Path, record: type[msgspec.Struct], column: str, rows: set[int]) -> dict[int, object]:
    """One column of some records as the file has it; for messages."""
    values: dict[int, object] = {}
    done = 0
    for records in read_records(path, record):
        values.update({row: getattr(records[row - done], column) for row in rows if 0 <= row - done < len(records)})
        done += len(records)
        if len(values) == len(rows):
            break
    return values


def read_records(path: Path, record: type[msgspec.Struct], window: int = 1 << 26) -> Iterator[list[msgspec.Struct]]:
    """Yield the records of one table in pieces of about `window` bytes: a table of gigabytes needs little memory.

    Raises:
        InputError: the file is empty, truncated, not a JSON array of objects, or a record lacks a column or has a
            wrong type; the message gives the record's number (from 0).
    """
    if path.stat().st_size == 0:
        raise InputError(f"table {path} has 0 bytes; copy or unpack it again")
    decoder = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start, done = _opening(path, text), 0
        while start < len(text):
            end = _cut(text, start, window)
            piece = b"[" + text[start:end] + (b"]" if end < len(text) else b"")
            try:
                records = decoder.decode(piece)
            except msgspec.DecodeError as why:
                if isinstance(why, msgspec.ValidationError) and record in OTHERS:
                    record = OTHERS[record]
                    decoder = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
                    continue
                if end < len(text) and not isinstance(why, msgspec.ValidationError):
                    window = len(text)  # the cut may have gone through a nested object: let the parser judge the rest
                    continue
                raise _bad_table(path, done, why) from None
            done += len(records)
            yield records
            start = end if end == len(text) else text.find(b"{", end)


def _opening(path: Path, text: mmap.mmap) -> int:
    match = re.match(rb"(?:\xef\xbb\xbf)?\s*\[", text)
    if match is None:
        raise InputError(f"table {path} does not start with '[': it is no nuScenes table; unpack it again")
    return match.end()


def _cut(text: mmap.mmap, start: int, window: int) -> int:
    """End of a piece: just behind the last record that ends inside the window, or the end of the file."""
    end = start + window
    while end < len(text):
        brace = text.rfind(b"}", start, end)
        if brace < 0:
            return len(text)
        if _BETWEEN_RECORDS.match(text, brace):
            return brace + 1
        end = brace
    return len(text)


def _bad_table(path: Path, done: int, why: msgspec.DecodeError) -> InputError:
    reason = str(why)
    place = re.search(r"`\$\[(\d+)\]", reason)
    if isinstance(why, msgspec.ValidationError) and place:
        number = done + int(place[1])
        return InputError(f"table {path}, record {number}: {_plain(reason)}; restore the table from its archive")
    return InputError(f"table {path} is truncated or no valid JSON behind record {done} ({reason}); unpack it again")


def _plain(reason: str) -> str:
    return re.sub(r" - at `\$\[\d+\]\.?([^`]*)`", lambda at: f" in column {at[1]!r}" if at[1] else "", reason)
