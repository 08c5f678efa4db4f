"""Bad tables: one line that names the table and the record, and no index left behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nuscenes_small import SIZE, START_US, VERSION, edit_table, token, write_dataset

from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.nuscenes.tables import TABLES
from worldmodel.errors import InputError

GONE = "f" * 32


def table(root: Path, name: str) -> Path:
    return root / VERSION / f"{name}.json"


def text(name: str, new: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda root: table(root, name).write_text(new(table(root, name).read_text()))


def record(name: str, number: int, **new: object) -> Callable[[Path], object]:
    return lambda root: edit_table(root, name, lambda records: records[number].update(new))


def without(name: str, number: int, column: str) -> Callable[[Path], object]:
    return lambda root: edit_table(root, name, lambda records: records[number].pop(column))


def repeat(name: str, first: int, second: int) -> Callable[[Path], object]:
    return lambda root: edit_table(root, name, lambda r: r[second].update(token=r[first]["token"]))


CASES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing table": (lambda root: table(root, "ego_pose").unlink(), ["ego_pose.json is missing", "archive"]),
    "empty table": (text("sample", lambda old: ""), ["sample.json has 0 bytes"]),
    "truncated table": (text("sample_data", lambda old: old[: len(old) // 2]), ["sample_data.json is truncated"]),
    "truncated between records": (text("ego_pose", lambda old: old[: old.rindex("{")]), ["ego_pose.json is truncated"]),
    "object for array": (text("scene", lambda old: "{}"), ["scene.json does not start with '['"]),
    "no text": (lambda root: table(root, "log").write_bytes(b"[{\xff\xfe}]"), ["log.json is truncated or no valid"]),
    "numbers for records": (text("log", lambda old: "[1, 2]"), ["log.json, record 0", "object"]),
    "wrong type": (record("sample_data", 7, timestamp="soon"), ["sample_data.json, record 7", "int", "timestamp"]),
    "null": (record("ego_pose", 3, rotation=None), ["ego_pose.json, record 3", "rotation"]),
    "short quaternion": (record("ego_pose", 3, rotation=[1.0, 0.0]), ["ego_pose.json, record 3", "rotation"]),
    "missing column": (without("calibrated_sensor", 2, "translation"), ["record 2", "translation"]),
    "2 x 3 intrinsics": (
        record("calibrated_sensor", 1, camera_intrinsic=[[1.0, 0, 0], [0, 1.0, 0]]),
        ["calibrated_sensor.json, record 1", "3 x 3"],
    ),
    "time out of range": (record("sample", 1, timestamp=10**30), ["sample.json, record 1", "timestamp"]),
    "an empty token": (record("sample", 2, token=""), ["sample.json, record 2", "token is empty"]),
    "a token that leads nowhere": (
        record("sample_data", 9, ego_pose_token="ab"),
        ["sample_data.json, record 9", "ego_pose_token ab is not in ego_pose.json"],
    ),
    "no rotation": (
        record("ego_pose", 3, rotation=[[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]]),
        ["ego_pose.json, record 3", "no 3 x 3 rotation"],
    ),
    "quaternion of length 0": (record("ego_pose", 3, rotation=[0.0] * 4), ["ego_pose.json, record 3", "no quaternion"]),
    "infinite time": (record("sample_data", 4, timestamp=1e300), ["sample_data.json, record 4", "out of range"]),
    "times all equal": (
        lambda root: edit_table(root, "sample_data", lambda r: [one.update(timestamp=START_US) for one in r]),
        ["sample_data.json: no time stamp of", "later than the one before it", "in microseconds"],
    ),
    "times in milliseconds": (
        lambda root: edit_table(
            root, "sample_data", lambda r: [one.update(timestamp=one["timestamp"] // 1000) for one in r]
        ),
        ["sample_data.json: time stamps in milliseconds", "write microseconds"],
    ),
    "an hour between frames": (
        lambda root: edit_table(
            root, "sample_data", lambda r: [o.update(timestamp=START_US + 3_600_000_000 * n) for n, o in enumerate(r)]
        ),
        ["sample_data.json: ", "0.000278 frames per second, where a camera has 0.25 to 240", "microseconds"],
    ),
    "repeated token": (repeat("ego_pose", 4, 11), ["ego_pose.json", "records 4 and 11", "same token"]),
    "merging chains": (
        lambda root: edit_table(root, "sample_data", lambda r: r[4].update(next=r[10]["token"])),
        ["sample_data.json, record 4", "does not point back"],
    ),
    "circle": (
        lambda root: edit_table(
            root, "sample_data", lambda r: (r[39].update(next=r[0]["token"]), r[0].update(prev=r[39]["token"]))
        ),
        ["sample_data.json", "turns in a circle"],
    ),
}
for _table, _description in TABLES.items():
    for _column, _target in _description.references.items():
        CASES[f"dangling {_table}.{_column}"] = (
            record(_table, 0, **{_column: GONE}),
            [f"{_table}.json, record 0 (token ", f"{_column} {GONE} is not in {_target}.json"],
        )


@pytest.mark.parametrize("case", CASES)
def test_the_record_is_named(own_root: Path, case: str) -> None:
    damage, expected = CASES[case]
    damage(own_root)
    with pytest.raises(InputError) as caught:
        chunk_pairs(open_index(own_root, VERSION), size=SIZE)
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message, message
    if case not in ("circle", "times all equal", "an hour between frames"):  # found when the chains are walked
        left = list((own_root / VERSION).glob(".worldmodel-index/*"))
        assert left == []


def test_a_bad_record_late_in_a_large_table_keeps_its_number(own_root: Path) -> None:
    from worldmodel.datasets.nuscenes.tables import SampleDataRecord, read_records

    record("sample_data", 120, width="wide")(own_root)
    with pytest.raises(InputError, match="record 120:.*width"):
        list(read_records(table(own_root, "sample_data"), SampleDataRecord, window=4000))


@pytest.mark.parametrize(
    ("root", "version", "expected"),
    [
        ("elsewhere", VERSION, "elsewhere is not a folder"),
        ("own", "v1.0-trainval", f"version 'v1.0-trainval' is not in .*; found: {VERSION}"),
        (".", VERSION, "found: no version at all"),
    ],
)
def test_what_is_there_is_listed(own_root: Path, root: str, version: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        open_index(own_root.parent / root, version)


def test_skip_bad_leaves_dangling_records_out_and_says_which(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "own", scenes=("scene-0061",), frames=60)
    edit_table(root, "sample_data", lambda r: r[40].update(ego_pose_token=GONE))  # in the first camera's chain
    with pytest.raises(InputError, match="pass skip_bad=True"):
        open_index(root, VERSION)
    index = open_index(root, VERSION, skip_bad=True)
    assert len(index.dropped) == 1 and f"record 40 (token {token('scene-0061', 'CAM_FRONT', 40)})" in index.dropped[0]
    pairs = chunk_pairs(index, cameras=["CAM_FRONT"], size=SIZE, observed_frames=5, future_frames=5, stride=10)
    assert pairs.report.dropped_references == index.dropped
    assert pairs.report.broken_chains == {"CAM_FRONT": 1}
    used = np.unique(pairs.frame_rows())
    assert used.tolist() == [*range(40), *range(41, 51)], "two runs, on either side of the bad record"


def test_skip_bad_reuses_the_index_of_sound_tables(own_root: Path) -> None:
    assert open_index(own_root, VERSION, skip_bad=True).dropped == []
    strict = open_index(own_root, VERSION)
    assert open_index(own_root, VERSION, skip_bad=True).folder == strict.folder
