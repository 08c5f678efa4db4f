"""From records to columns: tokens to 16 bytes, vectors to float64 rows, references to row numbers."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from worldmodel.datasets.nuscenes.tables import TABLES, Table, read_records
from worldmodel.errors import InputError

Column: TypeAlias = Any  # np.ndarray or pa.Array (pyarrow ships no types)
NO_TOKEN = "0" * 32

_FIXED: dict[str, type[np.integer]] = {
    "is_key_frame": np.uint8,
    "height": np.int32,
    "width": np.int32,
    "nbr_samples": np.int32,
    "timestamp": np.int64,
}
_VECTORS = {"translation": 3, "rotation": 4, "camera_intrinsic": 9}


def read_columns(path: Path, table: Table) -> dict[str, Column]:
    """Columns of one raw table. Token columns, references among them, are still [rows, 16] uint8 here."""
    names = table.record.__struct_fields__
    pieces: dict[str, list[Column]] = {name: [] for name in names}
    done = 0
    for records in read_records(path, table.record):
        for name in names:
            values = [getattr(record, name) for record in records]
            pieces[name].append(_column(path, table, name, values, done))
        done += len(records)
    return {name: _join(pieces.pop(name)) for name in names}


def _column(path: Path, table: Table, name: str, values: list, done: int) -> Column:
    if name == "token" or name in table.references:
        return _tokens(path, name, values, done)
    if name in _FIXED:
        return _numbers(path, name, values, done)
    if name in _VECTORS:
        return _vectors(path, name, values, done)
    return pa.array(values, type=pa.string())


def _tokens(path: Path, name: str, values: Sequence[str], done: int) -> np.ndarray:
    filled = values if name == "token" else [value or NO_TOKEN for value in values]
    try:
        if set(map(len, filled)) - {32}:
            raise ValueError
        return np.frombuffer(bytes.fromhex("".join(filled)), dtype=np.uint8).reshape(-1, 16)
    except ValueError:
        bad = next(number for number, value in enumerate(filled) if not _is_token(value))
        raise InputError(
            f"table {path}, record {done + bad}: {name} {filled[bad]!r} is not 32 hexadecimal digits; restore the table"
        ) from None


def _is_token(value: str) -> bool:
    return len(value) == 32 and all(letter in "0123456789abcdefABCDEF" for letter in value)


def _numbers(path: Path, name: str, values: list[int], done: int) -> np.ndarray:
    try:
        return np.array(values, dtype=_FIXED[name])
    except OverflowError:
        limits = np.iinfo(_FIXED[name])
        bad = next(number for number, value in enumerate(values) if not limits.min <= value <= limits.max)
        raise InputError(
            f"table {path}, record {done + bad}: {name} {values[bad]} is out of range; restore the table"
        ) from None


def _vectors(path: Path, name: str, values: list, done: int) -> np.ndarray:
    if name == "camera_intrinsic":  # lidar and radar have none
        none = (np.nan,) * 9
        bad = [number for number, matrix in enumerate(values) if len(matrix) not in (0, 3)]
        if bad:
            raise InputError(f"table {path}, record {done + bad[0]}: camera_intrinsic is not 3 x 3; restore the table")
        values = [sum(matrix, ()) if matrix else none for matrix in values]
    return np.array(values, dtype=np.float64).reshape(-1, _VECTORS[name])


def _join(pieces: list[Column]) -> Column:
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return pa.concat_arrays(pieces)


class _Rows:
    """Token -> row of one table, for whole columns at once."""

    def __init__(self, name: str, tokens: np.ndarray) -> None:
        self.high, self.low = _halves(tokens)
        self.order = np.argsort(self.high, kind="stable")
        self.high, self.low = self.high[self.order], self.low[self.order]
        self._refuse_repeats(name, tokens)

    def _refuse_repeats(self, name: str, tokens: np.ndarray) -> None:
        if not (self.high[1:] == self.high[:-1]).any():
            return
        self.order = np.lexsort(_halves(tokens)[::-1])
        self.high, self.low = (half[self.order] for half in _halves(tokens))
        same = (self.high[1:] == self.high[:-1]) & (self.low[1:] == self.low[:-1])
        if same.any():
            first, second = sorted(self.order[np.flatnonzero(same)[0] :][:2].tolist())
            token = tokens[first].tobytes().hex()
            raise InputError(
                f"table {name}: records {first} and {second} have the same token {token}; restore the table"
            )

    def find(self, tokens: np.ndarray) -> np.ndarray:
        """Row of each token, -1 where the table has none."""
        high, low = _halves(tokens)
        place = np.searchsorted(self.high, high).clip(max=max(len(self.high) - 1, 0))
        if len(self.high) == 0:
            return np.full(len(tokens), -1, dtype=np.int32)
        while True:  # step through tokens that share their first half; real tables have none such
            ahead = (self.high[place] == high) & (self.low[place] < low) & (place + 1 < len(self.high))
            if not ahead.any():
                break
            place = place + ahead
        hit = (self.high[place] == high) & (self.low[place] == low)
        return np.where(hit, self.order[place], -1).astype(np.int32)


def _halves(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    halves = np.ascontiguousarray(tokens).view(">u8").astype(np.uint64)
    return halves[:, 0], halves[:, 1]


def resolve_references(tables: dict[str, dict[str, Column]], folder: Path, skip_bad: bool) -> list[str]:
    """Replace every reference column by int32 rows, in place, and check `next` against `prev`.

    Returns:
        With `skip_bad`, one sentence per dangling or contradictory reference (its row becomes -1).

    Raises:
        InputError: without `skip_bad` the first such reference, naming table, record and token; repeated tokens always.
    """
    rows = {name: _Rows(str(folder / f"{name}.json"), tables[name]["token"]) for name in TABLES}
    dropped: list[str] = []
    for name, table in TABLES.items():
        for column, target in table.references.items():
            found, missing = _resolve(tables[name][column], rows[target], optional=column in ("prev", "next"))
            complaints = (_dangling(folder, name, tables[name], column, row, target) for row in missing.tolist())
            _collect(dropped, complaints, skip_bad)
            tables[name][column] = found
    tables["sample_data"]["sensor"] = _sensor_column(tables)
    _collect(dropped, _broken_links(folder, tables["sample_data"]), skip_bad)
    return dropped


def _resolve(tokens: np.ndarray, rows: _Rows, optional: bool) -> tuple[np.ndarray, np.ndarray]:
    found = rows.find(tokens)
    missing = found < 0
    if optional:
        missing &= tokens.any(axis=1)
    return found, np.flatnonzero(missing)


def _dangling(folder: Path, name: str, columns: dict[str, Column], column: str, row: int, target: str) -> str:
    token, points_to = columns["token"][row].tobytes().hex(), columns[column][row].tobytes().hex()
    return f"table {folder / name}.json, record {row} (token {token}): {column} {points_to} is not in {target}.json"


def _sensor_column(tables: dict[str, dict[str, Column]]) -> np.ndarray:
    calibrated = tables["sample_data"]["calibrated_sensor_token"]
    sensors = np.append(tables["calibrated_sensor"]["sensor_token"], np.int32(-1))
    return sensors[calibrated]


def _broken_links(folder: Path, columns: dict[str, Column]) -> Iterator[str]:
    """Links of `sample_data` whose other end does not point back.

    They are cut here, so that chains can neither merge nor turn in circles.
    """
    after = columns["next"]
    linked = np.flatnonzero(after >= 0)
    wrong = linked[
        (columns["prev"][after[linked]] != linked) | (columns["sensor"][after[linked]] != columns["sensor"][linked])
    ]
    for row in wrong.tolist():
        token, other = columns["token"][row].tobytes().hex(), columns["token"][after[row]].tobytes().hex()
        after[row] = -1
        yield f"table {folder}/sample_data.json, record {row} (token {token}): next {other} does not point back by prev"


def _collect(dropped: list[str], complaints: Iterable[str], skip_bad: bool) -> None:
    for complaint in complaints:
        if not skip_bad:
            raise InputError(
                f"{complaint}; restore the tables from their archive, or pass skip_bad=True to leave it out"
            )
        dropped.append(complaint)
