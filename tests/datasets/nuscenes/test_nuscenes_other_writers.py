"""The format as others write it: tokens, time stamps, rotations, folders, and what may be absent."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nuscenes_small import SIZE, VERSION, edit_table, write_dataset

from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.nuscenes.geometry import pose_matrices
from worldmodel.datasets.nuscenes.tables import TABLES
from worldmodel.datasets.sources import open_source
from worldmodel.datasets.timing import is_gap
from worldmodel.errors import InputError

SMALL = {"size": SIZE, "observed_frames": 5, "future_frames": 3, "stride": 8}


def every(root: Path, name: str, change: Callable[[dict], object]) -> None:
    edit_table(root, name, lambda records: [change(record) for record in records])


def times(root: Path, change: Callable[[int], object]) -> None:
    for name in ("sample", "sample_data", "ego_pose"):
        every(root, name, lambda one: one.update(timestamp=change(one["timestamp"])))


def tokens(root: Path, change: Callable[[str], str]) -> None:
    for name, table in TABLES.items():
        columns = ("token", *table.references)
        every(root, name, lambda one, columns=columns: one.update({c: change(one[c]) for c in columns if one[c]}))


def matrices(root: Path, flat: bool) -> None:
    def turn(one: dict) -> None:
        matrix = pose_matrices(np.array([one["rotation"]]), np.zeros((1, 3)))[0, :3, :3]
        one["rotation"] = matrix.reshape(-1).tolist() if flat else matrix.tolist()

    every(root, "ego_pose", turn)
    every(root, "calibrated_sensor", turn)


def absent(root: Path) -> None:
    for name in ("log", "map", "visibility", "attribute", "category", "instance", "sample_annotation"):
        (root / VERSION / f"{name}.json").unlink()
    for name, columns in {
        "scene": ("description", "nbr_samples", "first_sample_token", "last_sample_token", "log_token"),
        "sample": ("prev", "next"),
        "ego_pose": ("timestamp",),
        "sample_data": ("width", "height", "fileformat"),
    }.items():
        every(root, name, lambda one, columns=columns: [one.pop(column) for column in columns])
    edit_table(
        root, "calibrated_sensor", lambda r: [one.pop("camera_intrinsic") for one in r if not one["camera_intrinsic"]]
    )


WRITERS: dict[str, Callable[[Path], object]] = {
    "microseconds as floats": lambda root: times(root, float),
    "nanoseconds": lambda root: times(root, lambda us: us * 1000),
    "nanoseconds as floats": lambda root: times(root, lambda us: us * 1e3),
    "seconds": lambda root: times(root, lambda us: us * 1e-6),
    "tokens of 64 digits": lambda root: tokens(root, lambda token: token + token[::-1]),
    "tokens in capitals": lambda root: tokens(root, str.upper),
    "tokens in words": lambda root: tokens(root, lambda token: f"frame/{int(token, 16)} – ü"),
    "rotations in rows": lambda root: matrices(root, flat=False),
    "rotations in nine numbers": lambda root: matrices(root, flat=True),
    "sizes of 0": lambda root: every(root, "sample_data", lambda one: one.update(width=0, height=0)),
    "what may be absent": absent,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_any_writer_gives_the_same_pairs(own_root: Path, small_root: Path, writer: str) -> None:
    WRITERS[writer](own_root)
    index = open_index(own_root, VERSION)
    pairs, expected = (
        chunk_pairs(one, scenes=["scene-0061"], **SMALL) for one in (index, open_index(small_root, VERSION))
    )
    assert len(pairs) == len(expected) == 5 and pairs.frame_rate == 12.0
    mine, theirs = pairs[3], expected[3]
    np.testing.assert_allclose(mine.times_s, theirs.times_s, atol=2e-6)
    np.testing.assert_allclose(mine.ego_poses, theirs.ego_poses, atol=1e-9)
    np.testing.assert_allclose(mine.extrinsics, theirs.extrinsics, atol=1e-9)
    np.testing.assert_allclose(mine.intrinsics, theirs.intrinsics)
    assert (mine.observed_NFCHW == theirs.observed_NFCHW).all()
    written = json.loads((own_root / VERSION / "sample_data.json").read_text())
    for row in (0, 17):
        assert index.token("sample_data", row) == written[row]["token"]
        assert index.row("sample_data", written[row]["token"]) == row


def test_a_dangling_token_of_any_text_is_named_as_written(own_root: Path) -> None:
    tokens(own_root, lambda token: f"t-{token}")
    edit_table(own_root, "sample_data", lambda records: records[7].update(ego_pose_token="pose 7"))
    with pytest.raises(
        InputError, match=r"sample_data\.json, record 7 \(token t-[0-9a-f]{32}\): ego_pose_token pose 7 is not"
    ):
        open_index(own_root, VERSION)
    assert "pose 7" in open_index(own_root, VERSION, skip_bad=True).dropped[0]


LAYOUTS: dict[str, tuple[str, str | None]] = {
    "a folder of its own name": (f"{VERSION}/{VERSION}", VERSION),
    "annotation": ("annotation", None),
    "right in the root": (".", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tables_where_others_put_them(own_root: Path, layout: str) -> None:
    place, version = LAYOUTS[layout]
    tables = shutil.move(own_root / VERSION, own_root / "tables")
    if place == ".":
        for path in Path(tables).glob("*.json"):
            path.rename(own_root / path.name)
    else:
        (own_root / place).parent.mkdir(exist_ok=True)
        shutil.move(tables, own_root / place)
    assert len(chunk_pairs(open_index(own_root, version), **SMALL)[4].paths) == 3
    pair = open_source(own_root).chunk(0.0, 5, 3, SIZE)
    assert pair.scene == "scene-0061" and pair.future_NGCHW.shape[1] == 3


def test_the_version_folder_as_root_finds_the_pictures_beside_it(own_root: Path) -> None:
    pairs = chunk_pairs(open_index(own_root / VERSION), **SMALL)
    assert pairs[0].observed_NFCHW.shape == (3, 5, 3, *SIZE)


@pytest.mark.parametrize(("rate", "step_us"), [(10.0, 100_000), (20.0, 50_000), (30.0, 33_333)])
def test_clocked_cameras_of_another_rate(own_root: Path, rate: float, step_us: int) -> None:
    def clock(records: list[dict]) -> None:
        for camera in ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_BACK"):
            mine = [one for one in records if f"/{camera}/" in one["filename"]]
            for number, one in enumerate(mine):
                one["timestamp"] = 1_500_000_000_000_000 + step_us * (number + (number > 25))  # one is missing

    edit_table(own_root, "sample_data", clock)
    pairs = chunk_pairs(open_index(own_root, VERSION), **SMALL)
    assert pairs.frame_rate == rate and pairs[0].frame_rate == rate
    assert pairs.report.gaps == {"CAM_FRONT_LEFT": 1, "CAM_FRONT": 1, "CAM_BACK": 1}
    assert f"CAM_BACK misses 1 frame behind frame 25 ({25 / rate:.2f} s)" in str(pairs.report)


def test_cameras_of_two_rates_are_refused_by_name(own_root: Path) -> None:
    def slow(records: list[dict]) -> None:
        mine = [one for one in records if "/CAM_BACK/" in one["filename"]]
        for number, one in enumerate(mine):
            one["timestamp"] = 1_500_000_000_000_000 + 250_000 * number

    edit_table(own_root, "sample_data", slow)
    with pytest.raises(InputError, match=r"differ: CAM_FRONT 12, CAM_BACK 4; choose cameras= of one rate"):
        chunk_pairs(open_index(own_root, VERSION), cameras=["CAM_FRONT", "CAM_BACK"], **SMALL)


def test_lost_frames_break_the_runs_of_the_camera_that_lost_them(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "lossy", scenes=("scene-0061",), frames=60, lost=0.06)
    pairs = chunk_pairs(open_index(root, VERSION), **SMALL | {"stride": 1})
    assert pairs.frame_rate == 12.0 and set(pairs.report.gaps) == {"CAM_FRONT_LEFT", "CAM_FRONT", "CAM_BACK"}
    times_PNL = np.stack([pairs[number].times_s for number in range(len(pairs))])
    assert not is_gap(np.diff(times_PNL), 12.0).any() and np.abs(times_PNL - times_PNL[:, :1]).max() < 0.04
