"""`openvid-val`: drawn from a CSV in one pass, whatever the order of its rows."""

import csv
import hashlib
import random
from pathlib import Path

import pytest

from worldmodel.benchmarks.clips import ClipList, ClipsConfig, clip_list
from worldmodel.errors import InputError

HEADER = ["video", "caption", "aesthetic score", "motion score", "camera motion", "frame", "fps", "seconds"]


def row(name: str, frames: object) -> list[str]:
    return [name, f"a film, called {name}", "5.1", "2.2", "pan", str(frames), "24.0", "4.0"]


def write_csv(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def drawn(path: Path, **settings: object) -> ClipList:
    return clip_list(ClipsConfig(**{"list": "openvid-val", "csv": str(path), **settings}))


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    lengths = random.Random(1)
    return [row(f"video_{number:05d}.mp4", lengths.randrange(20, 400)) for number in range(5000)]


def test_agrees_with_sorting_the_whole_list(rows: list[list[str]], tmp_path: Path) -> None:
    chosen = drawn(write_csv(tmp_path / "all.csv", rows))
    long_enough = [cells for cells in rows if int(cells[5]) >= 34]
    order = sorted(long_enough, key=lambda r: hashlib.sha256(f"openvid-val@1/0/{r[0]}".encode()).hexdigest())
    expected = sorted(order[:2000])
    assert len(chosen) == chosen.expected == 2000
    assert [clip.views[0].frames[0] for clip in chosen.clips] == [f"{r[0]}#0" for r in expected]
    assert [clip.caption for clip in chosen.clips] == [cells[1] for cells in expected]
    assert chosen.notes == (f"5000 rows, {len(long_enough)} with at least 34 frames",)
    numbers = [int(frame.rpartition("#")[2]) for frame in chosen.clips[0].views[0].frames]
    assert numbers == list(range(numbers[0], numbers[0] + 34))


def test_version_1_has_the_middle_of_the_same_videos(rows: list[list[str]], tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", rows)
    old, new = drawn(path, list="openvid-val@1"), drawn(path)
    lengths = {cells[0]: int(cells[5]) for cells in rows}
    assert (old.label, new.label) == ("openvid-val@1", "openvid-val@2")
    assert [clip.scene for clip in old.clips] == [clip.scene for clip in new.clips]
    assert all(
        clip.views[0].frames[0] == f"{clip.scene}.mp4#{(lengths[f'{clip.scene}.mp4'] - 34) // 2}" for clip in old.clips
    )


def test_order_of_rows_and_repeats_do_not_matter(rows: list[list[str]], tmp_path: Path) -> None:
    once = drawn(write_csv(tmp_path / "once.csv", rows))
    again = [*rows, *rows[::3]]
    random.Random(2).shuffle(again)
    assert drawn(write_csv(tmp_path / "again.csv", again)).sha256 == once.sha256
    renamed = [[f"_{cells[0]}", *cells[1:]] for cells in rows]
    assert drawn(write_csv(tmp_path / "renamed.csv", renamed)).sha256 != once.sha256


def test_the_hash_is_the_same_on_every_machine(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "few.csv", [row("b.mp4", 40), row("a.mp4", 34), row("short.mp4", 33)])
    chosen = drawn(path, list="openvid-val@1")
    assert [clip.scene for clip in chosen.clips] == ["a", "b"]
    assert drawn(path).sha256 == "8ffe5019ce07e9facabf2a8385357ebc22a77adf052ddc01e192d6b16b2ef94e"
    assert chosen.sha256 == "3ae350e074d6c14553a347db9a574574be60464258cd99f0785eef0eb743b1ae"


def test_other_lengths(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "few.csv", [row("b.mp4", "82.0"), row("a.mp4", 81)])
    assert [clip.views[0].frames[-1] for clip in drawn(path, frames=82).clips] == ["b.mp4#81"]
    with pytest.raises(InputError, match="none of 2 videos has 83 frames"):
        drawn(path, frames=83)


def test_lists_that_do_not_serve(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="csv is not given"):
        clip_list(ClipsConfig(list="openvid-val"))
    with pytest.raises(InputError, match=r"a.mp4: frame 'many' is no number"):
        drawn(write_csv(tmp_path / "words.csv", [row("a.mp4", "many")]))
    cells = [row("a.mp4", 40)[:2]]
    with pytest.raises(InputError, match="no column 'frame'"):
        drawn(write_csv(tmp_path / "narrow.csv", cells, HEADER[:2]))
