"""Files that appear whole or not at all, whoever else writes them."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from worldmodel.errors import InputError
from worldmodel.files import is_kept, kept, remove_partial, replace_folder, save_tensors, written_whole

NOBODY = 65534


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with written_whole(tmp_path / "sub" / "one") as part:
        part.write_text("1")
        assert not (tmp_path / "sub" / "one").exists()
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "sub" / "one") as part:
        part.write_text("2")
        raise KeyboardInterrupt
    assert names(tmp_path / "sub") == ["one"]
    assert (tmp_path / "sub" / "one").read_text() == "1"


def test_writers_with_one_process_number_do_not_meet(tmp_path: Path) -> None:
    """As on two machines with one file system."""
    with written_whole(tmp_path / "one") as here:
        with written_whole(tmp_path / "one") as there:
            here.write_text("here")
            there.write_text("there")
            assert here != there
        assert (tmp_path / "one").read_text() == "there"
    assert (tmp_path / "one").read_text() == "here"
    assert names(tmp_path) == ["one"]


def test_what_killed_processes_left_is_removed_by_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with written_whole(tmp_path / name) as part:
            part.mkdir()
            shutil.copytree(part, kept := tmp_path / "kept")
        shutil.rmtree(tmp_path / name)
        kept.rename(part)
    assert [name.rsplit("-", 1)[1] for name in names(tmp_path)] in (["one", "two"], ["two", "one"])
    remove_partial(tmp_path, "one")
    assert [name.rsplit("-", 1)[1] for name in names(tmp_path)] == ["two"]
    remove_partial(tmp_path)
    assert names(tmp_path) == []


def test_names_and_folders_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"use .*one\.png"), written_whole(tmp_path / "one.txt", ".png"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give a folder that can be written"), written_whole(tmp_path / "file" / "one"):
        pass


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Not root, who may read everything; for others nothing changes: `0o000` closes a file to its owner as well."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may write into; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("mask", "wanted"), [(0o022, 0o644), (0o002, 0o664), (0o027, 0o640), (0o077, 0o600)])
def test_what_is_written_has_the_mode_of_any_new_file(mask: int, wanted: int, tmp_path: Path) -> None:
    """safetensors alone gives 0600, whatever the umask."""
    tensors = {"a": torch.zeros(2)}
    with umask(mask):
        (tmp_path / "plain").touch()
        with written_whole(tmp_path / "one.safetensors") as part:
            save_tensors(tensors, part)
        with written_whole(tmp_path / "folder") as part:
            (part / "below").mkdir(parents=True)
            save_tensors(tensors, part / "below" / "two.safetensors")
            (part / "three.json").write_text("{}")
        (tmp_path / "new").mkdir()
        save_tensors(tensors, tmp_path / "new" / "four.safetensors")
        replace_folder(tmp_path / "new", tmp_path / "place")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5 and {mode(path) for path in files} == {wanted}
    assert mode(tmp_path / "folder" / "below") == 0o777 & ~mask
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_of_a_group_hands_its_group_on(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    if os.geteuid() == 0:
        os.chown(shared, -1, NOBODY)
    shared.chmod(0o2775)
    with umask(0o002), written_whole(shared / "run") as part:
        part.mkdir()
        save_tensors({"a": torch.zeros(2)}, part / "weights.safetensors")
    weights = shared / "run" / "weights.safetensors"
    assert mode(weights) == 0o664 and mode(shared / "run") & 0o2000
    assert weights.stat().st_gid == shared.stat().st_gid


def remembered(path: Path, made: list[int]) -> int:
    def make() -> int:
        made.append(1)
        return 7

    def write(place: Path, value: int) -> None:
        place.write_text(json.dumps({"value": value}))

    return kept(path, lambda place: json.loads(place.read_text())["value"], make, write)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null"], ids=str)
def test_a_damaged_cache_is_made_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(content)
    made: list[int] = []
    assert [remembered(tmp_path / "one.json", made) for _ in range(2)] == [7, 7] and made == [1]


def test_a_folder_in_a_caches_place_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "one.json" / "mine").mkdir(parents=True)
    made: list[int] = []
    assert [remembered(tmp_path / "one.json", made) for _ in range(2)] == [7, 7] and made == [1, 1]
    assert names(tmp_path) == ["one.json"] and names(tmp_path / "one.json") == ["mine"]


def test_another_users_cache_is_made_anew_where_it_can(open_folder: Path) -> None:
    there, made = open_folder / "one.json", list[int]()
    there.write_text('{"value": 3}')
    there.chmod(0o000)
    with somebody_else():
        assert not is_kept(there)
        assert [remembered(there, made) for _ in range(2)] == [7, 7] and made == [1], "replaced: the folder is open"
    (open_folder / "closed").mkdir()
    (open_folder / "closed" / "two.json").write_text('{"value": 3}')
    (open_folder / "closed").chmod(0o000)
    with somebody_else():
        assert not is_kept(open_folder / "closed" / "two.json")
        assert remembered(open_folder / "closed" / "two.json", made) == 7 and made == [1, 1]
    (open_folder / "closed").chmod(0o700)
