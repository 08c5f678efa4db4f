"""Drives as the tables tell them: on the road of their map, in unbroken chains."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.datasets.toyworld.recipe import data_hash
from worldmodel.errors import InputError


def table(root: Path, name: str) -> list[dict]:
    return json.loads((root / "v1.0-toy" / f"{name}.json").read_text())


@pytest.mark.devkit
def test_the_whole_drive_lies_on_the_road_of_its_map(toy_root: Path) -> None:
    from nuscenes.nuscenes import NuScenes

    nusc = NuScenes("v1.0-toy", str(toy_root), verbose=False)
    for scene in nusc.scene:
        mask = nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])["mask"]
        assert np.unique(mask.mask()).tolist() == [0, 255]
        token = nusc.get("sample", scene["first_sample_token"])["data"]["CAM_FRONT"]
        places = []
        while token:
            data = nusc.get("sample_data", token)
            places.append(nusc.get("ego_pose", data["ego_pose_token"])["translation"][:2])
            token = data["next"]
        xy = np.array(places)
        assert len(xy) > 17 and np.hypot(*np.ptp(xy, axis=0)) > 3, "the ego vehicle moves"
        assert mask.is_on_mask(xy[:, 0], xy[:, 1]).all()
        course = xy[-1] - xy[0]
        aside = xy + 60 * np.array([-course[1], course[0]]) / np.hypot(*course)
        assert not mask.is_on_mask(aside[:, 0], aside[:, 1]).all(), "beside the road there is no road"


@pytest.mark.parametrize(("name", "group"), [("sample", "scene_token"), ("sample_annotation", "instance_token")])
def test_chains_have_one_first_and_one_last_row(toy_root: Path, name: str, group: str) -> None:
    rows = {row["token"]: row for row in table(toy_root, name)}
    groups = defaultdict(list)
    for row in rows.values():
        groups[row[group]].append(row)
        for there, back in (("prev", "next"), ("next", "prev")):
            if row[there]:
                assert rows[row[there]][back] == row["token"]
                assert rows[row[there]][group] == row[group]
    for chain in groups.values():
        assert [bool(row["prev"]) for row in chain].count(False) == 1
        assert [bool(row["next"]) for row in chain].count(False) == 1
    if name == "sample_annotation":
        for instance in table(toy_root, "instance"):
            chain = groups[instance["token"]]
            assert len(chain) == instance["nbr_annotations"]
            assert not rows[instance["first_annotation_token"]]["prev"]
            assert not rows[instance["last_annotation_token"]]["next"]


def test_splits_name_every_scene_once(toy_root: Path) -> None:
    splits = json.loads((toy_root / "v1.0-toy" / "splits.json").read_text())
    assert splits == {"train": ["toy-0000"], "val": ["toy-9000"]}
    assert sorted(scene["name"] for scene in table(toy_root, "scene")) == ["toy-0000", "toy-9000"]


def test_left_overs_of_an_interrupted_run_are_replaced(tmp_path: Path) -> None:
    recipe = ToyWorldConfig(train_scenes=1, val_scenes=0, seconds=0.5, size=(32, 18), workers=1)
    junk = tmp_path / "toy.part" / "samples" / "CAM_FRONT" / "half.jpg"
    junk.parent.mkdir(parents=True)
    junk.write_bytes(b"\xff\xd8")
    root = make_toyworld(tmp_path / "toy", recipe, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    assert not list(root.rglob("half.jpg"))
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_toyworld(root, recipe, progress=False) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == stamps, "reused, not touched"
    before = data_hash(root)
    with pytest.raises(InputError) as refused:
        make_toyworld(root, ToyWorldConfig(train_scenes=1, val_scenes=0, seconds=0.5, seed=7), progress=False)
    assert "\n" not in str(refused.value) and str(root) in str(refused.value)
    assert data_hash(root) == before
