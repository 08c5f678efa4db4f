"""The columnar index: equal to the devkit row by row, opened without a rebuild, rebuilt when the tables change."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nuscenes_small import SIZE, VERSION, assert_equals_devkit, edit_table, token

from worldmodel.datasets.nuscenes import chunk_pairs, official_splits, open_index, scenes_of_split
from worldmodel.datasets.nuscenes.tables import TABLES, SceneRecord, read_records
from worldmodel.errors import InputError


@pytest.mark.devkit
def test_every_row_equals_the_devkit(small_root: Path) -> None:
    assert_equals_devkit(small_root, VERSION)


@pytest.mark.devkit
def test_splits_equal_the_devkit() -> None:
    from nuscenes.utils.splits import create_splits_scenes

    assert official_splits() == create_splits_scenes()


def test_pieces_of_any_size_give_the_same_records(small_root: Path) -> None:
    path = small_root / VERSION / "scene.json"
    whole = next(read_records(path, SceneRecord))
    for window in (10, 200, 400, 700):
        assert [scene for piece in read_records(path, SceneRecord, window) for scene in piece] == whole
    assert "{brackets}, {" in whole[0].description


def test_a_cut_through_a_nested_object_is_noticed(tmp_path: Path) -> None:
    scene = {"token": token(1), "name": "a", "description": "", "log_token": token(2), "nbr_samples": 1}
    scene |= {"first_sample_token": token(3), "last_sample_token": token(3), "own": [{"x": 1}, {"x": 2}, {"x": 3}]}
    path = tmp_path / "scene.json"
    path.write_text(json.dumps([scene, scene | {"name": "b"}]))
    for window in (120, 240, 300):
        assert [s.name for piece in read_records(path, SceneRecord, window) for s in piece] == ["a", "b"]


def test_an_empty_table_has_no_rows(own_root: Path) -> None:
    for table in ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor"):
        edit_table(own_root, table, list.clear)
    index = open_index(own_root, VERSION)
    assert index.rows("scene") == 0 and index.scene_names == []
    with pytest.raises(InputError, match=r"scene\.json or the list of scenes is empty"):
        chunk_pairs(index)


def test_reopening_writes_nothing_and_changed_tables_are_read_again(own_root: Path) -> None:
    first = open_index(own_root, VERSION)
    files = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = open_index(own_root, VERSION)
    assert again.folder == first.folder
    assert files == {path: path.stat().st_mtime_ns for path in again.folder.iterdir()}
    edit_table(own_root, "scene", lambda records: records[0].update(name="scene-0553"))
    changed = open_index(own_root, VERSION)
    assert changed.scene_names == ["scene-0553"]
    assert list(changed.folder.parent.iterdir()) == [changed.folder], "the index of the old tables must go"
    assert first.scene_names == ["scene-0061"], "an index that is open stays readable"


def test_a_folder_that_cannot_be_written_uses_the_cache(own_root: Path, tmp_path: Path, monkeypatch) -> None:
    (own_root / VERSION / ".worldmodel-index").write_text("a file in the way, as on a read-only disk")
    monkeypatch.setenv("WORLDMODEL_CACHE", str(tmp_path / "cache"))
    index = open_index(own_root, VERSION)
    assert index.folder.is_relative_to(tmp_path / "cache")
    assert open_index(own_root, VERSION).folder == index.folder
    monkeypatch.setenv("WORLDMODEL_CACHE", str(own_root / VERSION / "scene.json"))
    with pytest.raises(InputError, match="WORLDMODEL_CACHE"):
        open_index(own_root, VERSION)


OPEN = """
import sys
from worldmodel.datasets.nuscenes import open_index
index = open_index(sys.argv[1], sys.argv[2])
print(len(index), index.folder, 'torch' in sys.modules)
"""


def test_processes_that_build_at_once_agree_and_load_no_torch(own_root: Path, repository: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(own_root), VERSION]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(3)]
    answers = {builder.communicate(timeout=120)[0] for builder in builders}
    index = open_index(own_root, VERSION)
    assert answers == {f"{len(index)} {index.folder} False\n"}
    assert list(index.folder.parent.iterdir()) == [index.folder]


def test_a_pickled_index_is_a_path(small_root: Path) -> None:
    index = open_index(small_root, VERSION)
    packed = pickle.dumps(index)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert np.array_equal(again.column("ego_pose", "rotation"), index.column("ego_pose", "rotation"))
    assert not again.column("ego_pose", "rotation").flags.writeable


def test_a_damaged_index_says_so(own_root: Path) -> None:
    index = open_index(own_root, VERSION)
    packed = pickle.dumps(index)
    (index.folder / "sample.arrow").write_bytes(b"no arrow")
    with pytest.raises(InputError, match="gone or damaged.*remove the folder"):
        pickle.loads(packed)


def test_a_damaged_index_is_made_anew(own_root: Path) -> None:
    folder = open_index(own_root, VERSION).folder
    for name, content in (("sample.arrow", b"no arrow"), ("index.json", b"{"), ("index.json", None)):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        assert len(open_index(own_root, VERSION)) and (folder / "sample.arrow").stat().st_size > 100


def test_an_index_that_only_its_owner_may_read_is_made_anew(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the tables where it can be replaced, else in the user's own cache."""
    monkeypatch.setenv("WORLDMODEL_CACHE", str(own_root / "cache"))
    there = open_index(own_root, VERSION).folder
    assert there.stat().st_mode & 0o777 == (own_root / VERSION).stat().st_mode & 0o777, "as the folder about it"
    with monkeypatch.context() as patched:  # removing fails, as it does in another user's folder
        patched.setattr("worldmodel.datasets.nuscenes.index.shutil.rmtree", lambda *given, **keys: None)
        (there / "index.json").unlink()
        (there / "index.json").mkdir()  # root may read every file, but not this one
        elsewhere = open_index(own_root, VERSION)
    assert elsewhere.folder.is_relative_to(own_root / "cache") and len(elsewhere) == elsewhere.rows("sample_data")


def test_tokens_lead_to_rows_and_back(small_root: Path) -> None:
    index = open_index(small_root, VERSION)
    for row in (0, 5, index.rows("sample") - 1):
        assert index.row("sample", index.token("sample", row)) == row
    for wrong in ("f" * 32, "short", ""):
        with pytest.raises(InputError, match="no record with token"):
            index.row("sample", wrong)


def test_tokens_that_share_their_first_half(own_root: Path) -> None:
    path = own_root / VERSION
    for name in TABLES:  # cut every token's first half to the same digits
        text = (path / f"{name}.json").read_text()
        for record in json.loads(text):
            text = text.replace(record["token"], "ab" * 8 + record["token"][16:])
        (path / f"{name}.json").write_text(text)
    for name, table in TABLES.items():

        def rename(records: list[dict], references=table.references) -> None:
            for record in records:
                for column in references:
                    record[column] = record[column] and "ab" * 8 + record[column][16:]

        edit_table(own_root, name, rename)
    index = open_index(own_root, VERSION)
    assert len(chunk_pairs(index, size=SIZE)) == 1
    assert index.column("sample_data", "ego_pose_token").tolist() == list(range(index.rows("ego_pose")))


def test_a_version_may_have_its_own_splits(own_root: Path) -> None:
    path = own_root / VERSION / "splits.json"
    path.write_text(json.dumps({"train": ["scene-0061"], "night": []}))
    assert scenes_of_split(own_root, VERSION, "train") == ["scene-0061"]
    assert scenes_of_split(own_root, VERSION, "night") == []
    assert len(scenes_of_split(own_root, VERSION, "val")) == 150
    with pytest.raises(InputError, match="split 'day' is unknown.*night"):
        scenes_of_split(own_root, VERSION, "day")
    for wrong in ("{", '{"train": "scene-0061"}', "[]"):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"splits\.json"):
            scenes_of_split(own_root, VERSION, "train")
