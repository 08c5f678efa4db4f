"""Files that appear whole or not at all, whoever else writes them."""

import shutil
from pathlib import Path

import pytest

from worldmodel.errors import InputError
from worldmodel.files import remove_partial, written_whole


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
