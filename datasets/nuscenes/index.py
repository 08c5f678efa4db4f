"""A columnar index of the raw tables on disk: built once, opened in milliseconds, memory-mapped by every worker.

Layout: `<root>/<version>/.worldmodel-index/<key>/<table>.arrow`, one Arrow IPC file of a single record batch per
table, rows in the table's own order. Tokens are 16 bytes (see `tokens`; `token_text` beside them where they are not
nuScenes' own 32 hexadecimal digits), references are int32 rows of the table they point into (-1: none), vectors are
fixed-size float64 lists, rotations quaternions and times whole microseconds, whatever the writer has. `sample_data` has
one column more than the raw table, `sensor`, taken through `calibrated_sensor`. The key is a hash of every table's
name, size and modification time: changed tables get a new index and the old one is removed. Where the version folder
cannot be written, `$WORLDMODEL_CACHE` (default `~/.cache/worldmodel`) holds it.
"""

import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from worldmodel.datasets.nuscenes.columns import Column, no_rows, read_columns, resolve_references, unify_times
from worldmodel.datasets.nuscenes.locate import locate
from worldmodel.datasets.nuscenes.tables import TABLES, table_path
from worldmodel.datasets.nuscenes.tokens import token_key
from worldmodel.errors import InputError
from worldmodel.files import cache_folder

FORMAT = 2
ABANDONED_S = 24 * 3600  # an unfinished index of changed tables that is older than this was left by a killed process


class NuScenesIndex:
    """The tables of one version as memory-mapped columns. Pickles as its path: workers share the pages, not copies.

    Attributes:
        root, version: the folder that file names are relative to, and that of the tables in it.
        folder: where the index lies.
        time_unit: of the time stamps as written; all columns have microseconds.
        dropped: references that were dangling and left out (only with `skip_bad`), one sentence each.
    """

    def __init__(self, root: Path, version: str, folder: Path) -> None:
        self.root, self.version, self.folder = root, version, folder
        try:
            about = json.loads((folder / "index.json").read_text())
            self.dropped: list[str] = about["dropped"]
            self.time_unit = str(about["time_unit"])
            self._tables = {name: _open_table(folder / f"{name}.arrow") for name in TABLES}
        except (OSError, ValueError, KeyError, pa.ArrowException) as why:
            raise InputError(
                f"index {folder} is gone or damaged ({why}); remove the folder and open the dataset again"
            ) from None
        self._columns: dict[tuple[str, str], np.ndarray] = {}

    def __reduce__(self) -> tuple[type["NuScenesIndex"], tuple[Path, str, Path]]:
        return NuScenesIndex, (self.root, self.version, self.folder)

    def __len__(self) -> int:
        return self.rows("sample_data")

    def rows(self, table: str) -> int:
        """Number of records of a table."""
        return int(self._tables[table].num_rows)

    def column(self, table: str, name: str) -> np.ndarray:
        """A numeric column without a copy: [rows] or, for vectors, [rows, k]; tokens as [rows, 16] uint8."""
        key = (table, name)
        if key not in self._columns:
            self._columns[key] = _as_numpy(self._arrow(table, name))
        return self._columns[key]

    def text(self, table: str, name: str, row: int | np.integer) -> str:
        """One value of a string column."""
        text: str = self._arrow(table, name)[int(row)].as_py()
        return text

    def texts(self, table: str, name: str) -> list[str]:
        """All values of a string column; meant for the small tables."""
        texts: list[str] = self._arrow(table, name).to_pylist()
        return texts

    def token(self, table: str, row: int | np.integer) -> str:
        """The record's token as it is written."""
        if "token_text" in self._tables[table].column_names:
            return self.text(table, "token_text", row)
        return bytes(self.column(table, "token")[int(row)]).hex()

    def row(self, table: str, token: str) -> int:
        """Row of the record with this token; raises InputError where there is none."""
        wanted = np.frombuffer(token_key(token), dtype=np.uint8)
        rows = np.flatnonzero((self.column(table, "token") == wanted).all(axis=1))
        if rows.size == 0:
            raise InputError(
                f"{table} has no record with token {token!r}; take one from {self.root / self.version}/{table}.json"
            )
        return int(rows[0])

    @property
    def scene_names(self) -> list[str]:
        """Names of all scenes, in the table's order."""
        return self.texts("scene", "name")

    @property
    def camera_names(self) -> list[str]:
        """Channels of all sensors whose modality is `camera`, in the table's order."""
        modalities = self.texts("sensor", "modality")
        return [
            name for name, kind in zip(self.texts("sensor", "channel"), modalities, strict=True) if kind == "camera"
        ]

    @property
    def cameras_with_frames(self) -> list[str]:
        """Those of `camera_names` that any row of `sample_data` is of."""
        sensors = self.column("sample_data", "sensor")
        frames = np.bincount(sensors[sensors >= 0], minlength=self.rows("sensor"))
        return [name for name in self.camera_names if frames[self.texts("sensor", "channel").index(name)]]

    def _arrow(self, table: str, name: str) -> pa.Array:
        column = self._tables[table].column(name)
        return column.chunk(0) if column.num_chunks else column.combine_chunks()


def open_index(root: str | Path, version: str | None = None, *, skip_bad: bool = False) -> NuScenesIndex:
    """Open the index of `<root>/<version>/*.json`, building it first where it is absent or the tables have changed.

    Args:
        root: folder that holds `samples/`, `sweeps/` and the version folders, or tables as other writers lay them out
            (see `locate`).
        version: v1.0-mini, v1.0-trainval, v1.0-test or any other folder in nuScenes' format; None is the only one, or
            v1.0-mini where there are several.
        skip_bad: leave out records whose references dangle, and say which in `.dropped`, instead of refusing the
        tables.

    Raises:
        InputError: a table is missing, truncated, lacks a column, or has a dangling or repeated token.
    """
    root, version = locate(root, version)
    key = _identity(root / version)
    keys = [key, f"{key}-skip-bad"] if skip_bad else [key]  # what the strict reading accepted needs no second index
    places = _places(root, version)
    for folder in (place / name for place in places for name in keys):
        if os.path.isdir(folder):
            try:
                return NuScenesIndex(root, version, folder)
            except InputError:  # damaged, or another user's own: made anew, beside it where it cannot be removed
                shutil.rmtree(folder, ignore_errors=True)
    free = [place for place in places if not os.path.isdir(place / keys[-1])]
    return NuScenesIndex(root, version, _build(root, version, keys[-1], _writable(free or places), skip_bad))


def _identity(folder: Path) -> str:
    paths = [(name, table_path(folder, name)) for name in TABLES]
    stats = [(name, (path.stat().st_size, path.stat().st_mtime_ns) if path else None) for name, path in paths]
    return hashlib.sha256(json.dumps([FORMAT, stats]).encode()).hexdigest()[:16]


def _places(root: Path, version: str) -> list[Path]:
    """Beside the tables, and in the cache of a user who can have one."""
    beside = root / version / ".worldmodel-index"
    try:
        own = cache_folder() / "nuscenes"
    except InputError:
        return [beside]
    return [beside, own / hashlib.sha256(str(root.resolve() / version).encode()).hexdigest()[:16]]


def _writable(places: list[Path]) -> Path:
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError:
            continue
    raise InputError(
        f"{' and '.join(map(str, places))}: cannot be written; set WORLDMODEL_CACHE to a folder for the index"
    )


def _build(root: Path, version: str, key: str, place: Path, skip_bad: bool) -> Path:
    """Write the index into a folder of its own and rename it: readers see all of it or nothing, builders may race."""
    part = place / f"{key}-{secrets.token_hex(4)}.part"
    part.mkdir()
    try:
        tables = {name: _read(root / version, name) for name in TABLES}
        dropped = resolve_references(tables, root / version, skip_bad)
        unit = unify_times(tables, root / version)
        for name, columns in tables.items():
            _write_table(part / f"{name}.arrow", columns)
        about = {"format": FORMAT, "version": version, "rows": {name: len(c["token"]) for name, c in tables.items()}}
        (part / "index.json").write_text(json.dumps(about | {"time_unit": unit, "dropped": dropped}, indent=1))
        return _publish(part, place / key)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(folder: Path, name: str) -> dict[str, Column]:
    path = table_path(folder, name)
    return read_columns(path, TABLES[name]) if path else no_rows(TABLES[name])


def _publish(part: Path, final: Path) -> Path:
    try:
        part.rename(final)
    except OSError:
        if not (final / "index.json").is_file():
            raise
        return final  # another process was first; its index is of the same tables
    for old in final.parent.iterdir():
        of_same_tables = old.name.startswith(final.name[:16])
        in_the_making = old.name.endswith(".part") and time.time() - old.stat().st_mtime < ABANDONED_S
        if not of_same_tables and not in_the_making:
            shutil.rmtree(old, ignore_errors=True)
    return final


def _write_table(path: Path, columns: dict[str, Column]) -> None:
    arrays = {name: _as_arrow(column) for name, column in columns.items()}
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _open_table(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()


def _as_arrow(column: Column) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column.dtype == np.uint8 and column.ndim == 2:
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(column), [None, pa.py_buffer(column)])
    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])
    return pa.array(column)


def _as_numpy(array: pa.Array) -> np.ndarray:
    # Not `to_numpy`: it imports pandas where that is installed, 0.2 s and 40 MB for nothing.
    rows = len(array)
    if pa.types.is_fixed_size_binary(array.type):
        return _buffer(array, np.dtype(np.uint8), rows * 16).reshape(rows, 16)
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        return _buffer(array.values, np.dtype(str(array.type.value_type)), rows * width).reshape(rows, width)
    return _buffer(array, np.dtype(str(array.type)), rows)


def _buffer(array: pa.Array, dtype: np.dtype, count: int) -> np.ndarray:
    return np.frombuffer(array.buffers()[1] or b"", dtype=dtype, count=count)
