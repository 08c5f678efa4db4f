"""From records to columns: tokens to 16 bytes, vectors to float64 rows, references to row numbers."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from worldmodel.datasets.nuscenes.clock import as_microseconds, time_unit, unit_like
from worldmodel.datasets.nuscenes.rotations import quaternions
from worldmodel.datasets.nuscenes.tables import TABLES, RawTable, read_records, read_values
from worldmodel.datasets.nuscenes.tokens import refuse_empty, token_keys
from worldmodel.errors import InputError

Column: TypeAlias = Any  # np.ndarray or pa.Array (pyarrow ships no types)

_FIXED: dict[str, type[np.integer]] = {
    "is_key_frame": np.uint8,
    "height": np.int32,
    "width": np.int32,
    "nbr_samples": np.int32,
    "timestamp": np.int64,
}


def read_columns(path: Path, table: RawTable) -> dict[str, Column]:
    """Columns of one raw table. Token columns, references among them, are still [rows, 16] uint8 here.

    `token_text` is there too where a token of the table is not 32 hexadecimal digits. Time stamps are as written.
    """
    names = table.record.__struct_fields__
    pieces: dict[str, list[Column]] = {name: [] for name in names}
    texts: list[list[str] | None] = []
    done = 0
    for records in read_records(path, table.record):
        for name in names:
            values = [getattr(record, name) for record in records]
            if name == "token":
                refuse_empty(path, values, done)
                keys, digits = token_keys(values)
                texts.append(None if digits else values)
                pieces[name].append(keys)
            else:
                pieces[name].append(_column(path, table, name, values, done))
        done += len(records)
    columns = {name: _join(pieces.pop(name)) for name in names if name != "token"}
    if any(texts):
        columns["token_text"] = _join([_texts(*piece) for piece in zip(texts, pieces["token"], strict=True)])
    return {"token": _join(pieces.pop("token"))} | columns


def _texts(written: list[str] | None, keys: np.ndarray) -> pa.Array:
    return pa.array(written if written is not None else [key.tobytes().hex() for key in keys], type=pa.string())


def no_rows(table: RawTable) -> dict[str, Column]:
    """Columns of a table that the version lacks."""
    return {name: _column(Path(), table, name, [], 0) for name in table.record.__struct_fields__}


def _column(path: Path, table: RawTable, name: str, values: list[Any], done: int) -> Column:
    if name == "token" or name in table.references:
        return token_keys(values)[0]
    if name in _FIXED:
        return _numbers(path, name, values, done)
    if name == "translation":
        return np.array(values, dtype=np.float64).reshape(-1, 3)
    if name == "rotation":
        return quaternions(path, values, done)
    if name == "camera_intrinsic":
        return _intrinsics(path, values, done)
    return pa.array(values, type=pa.string())


def _numbers(path: Path, name: str, values: list[Any], done: int) -> np.ndarray:
    """Whole numbers of the column's type; time stamps may be float64."""
    limits = np.iinfo(_FIXED[name])
    try:
        if float in set(map(type, values)):
            numbers = np.array(values, dtype=np.float64)
            if not (np.abs(numbers) <= limits.max).all():
                raise OverflowError
            return numbers
        return np.array(values, dtype=_FIXED[name])
    except OverflowError:
        bad = next(number for number, value in enumerate(values) if not limits.min <= value <= limits.max)
        raise InputError(
            f"table {path}, record {done + bad}: {name} {values[bad]} is out of range; restore the table"
        ) from None


def _intrinsics(path: Path, values: list[Any], done: int) -> np.ndarray:
    none = (np.nan,) * 9  # lidar and radar have none
    bad = [number for number, matrix in enumerate(values) if matrix and len(matrix) != 3]
    if bad:
        raise InputError(f"table {path}, record {done + bad[0]}: camera_intrinsic is not 3 x 3; restore the table")
    return np.array([sum(matrix, ()) if matrix else none for matrix in values], dtype=np.float64).reshape(-1, 9)


def _join(pieces: list[Column]) -> Column:
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return pa.concat_arrays(pieces)


class _Rows:
    """Token -> row of one table, for whole columns at once."""

    def __init__(self, path: Path, tokens: np.ndarray) -> None:
        self.high, self.low = _halves(tokens)
        self.order = np.argsort(self.high, kind="stable")
        self.high, self.low = self.high[self.order], self.low[self.order]
        self._refuse_repeats(path, tokens)

    def _refuse_repeats(self, path: Path, tokens: np.ndarray) -> None:
        if not (self.high[1:] == self.high[:-1]).any():
            return
        self.order = np.lexsort(_halves(tokens)[::-1])
        self.high, self.low = (half[self.order] for half in _halves(tokens))
        same = (self.high[1:] == self.high[:-1]) & (self.low[1:] == self.low[:-1])
        if same.any():
            first, second = sorted(self.order[np.flatnonzero(same)[0] :][:2].tolist())
            token = _as_written(path.parent, path.stem, "token", [first])[first]
            raise InputError(
                f"table {path}: records {first} and {second} have the same token {token}; restore the table"
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
    rows = {name: _Rows(folder / f"{name}.json", tables[name]["token"]) for name in TABLES}
    dropped: list[str] = []
    for name, table in TABLES.items():
        for column, target in table.references.items():
            if not len(tables[target]["token"]) and column in table.optional:  # a table that the version lacks
                tables[name][column] = np.full(len(tables[name]["token"]), -1, dtype=np.int32)
                continue
            tables[name][column], missing = _resolve(tables[name][column], rows[target], column in table.optional)
            _collect(dropped, _dangling(folder, name, column, missing.tolist(), target, skip_bad), skip_bad)
    tables["sample_data"]["sensor"] = _sensor_column(tables)
    _collect(dropped, _broken_links(folder, tables["sample_data"]), skip_bad)
    return dropped


def _resolve(tokens: np.ndarray, rows: _Rows, optional: bool) -> tuple[np.ndarray, np.ndarray]:
    places = rows.find(tokens)
    missing = places < 0
    if optional:
        missing &= tokens.any(axis=1)
    return places, np.flatnonzero(missing)


def _dangling(folder: Path, name: str, column: str, missing: list[int], target: str, every: bool) -> Iterator[str]:
    """A sentence per reference that leads nowhere, or about the first alone."""
    missing = missing if every else missing[:1]
    tokens, points_to = (_as_written(folder, name, which, missing) for which in ("token", column))
    for row in missing:
        where = f"{folder / name}.json, record {row} (token {tokens[row]})"
        yield f"table {where}: {column} {points_to[row] or 'is empty and'} is not in {target}.json"


def _as_written(folder: Path, name: str, column: str, rows: list[int]) -> dict[int, object]:
    # Tokens that are no hexadecimal digits are hashes by now, so a message takes them from the file again.
    return read_values(folder / f"{name}.json", TABLES[name].record, column, set(rows)) if rows else {}


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
    followed = after[wrong].copy()
    after[wrong] = -1
    tokens = _as_written(folder, "sample_data", "token", [*wrong.tolist(), *followed.tolist()])
    for row, after_row in zip(wrong.tolist(), followed.tolist(), strict=True):
        where = f"{folder}/sample_data.json, record {row} (token {tokens[row]})"
        yield f"table {where}: next {tokens[after_row]} does not point back by prev"


def unify_times(tables: dict[str, dict[str, Column]], folder: Path) -> str:
    """Turn all time stamps into whole microseconds, in place, once references are resolved.

    Returns:
        The unit in which `sample_data` has them.

    Raises:
        InputError: it has milliseconds.
    """
    columns = tables["sample_data"]
    times, camera = columns["timestamp"], np.array(tables["sensor"]["modality"].to_pylist()) == "camera"
    linked = np.flatnonzero((columns["next"] >= 0) & (columns["sensor"] >= 0))
    linked = linked[camera[columns["sensor"][linked]]] if len(camera) else linked
    unit = time_unit(times, (times[columns["next"][linked]] - times[linked]).astype(np.float64))
    if unit == "milliseconds":
        raise InputError(
            f"table {folder}/sample_data.json: time stamps in milliseconds ({times[0]}); write microseconds"
        )
    columns["timestamp"] = as_microseconds(times, unit)
    median_us = float(np.median(columns["timestamp"])) if len(times) else 0.0
    for name in ("sample", "ego_pose"):
        own = tables[name]["timestamp"]
        tables[name]["timestamp"] = as_microseconds(own, unit_like(own, median_us))
    return unit


def _collect(dropped: list[str], complaints: Iterable[str], skip_bad: bool) -> None:
    for complaint in complaints:
        if not skip_bad:
            raise InputError(
                f"{complaint}; restore the tables from their archive, or pass skip_bad=True to leave it out"
            )
        dropped.append(complaint)
