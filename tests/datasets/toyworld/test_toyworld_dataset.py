"""The written dataset: the official devkit opens it, its tables hang together, its bytes follow from the recipe."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.datasets.toyworld.recipe import data_hash
from worldmodel.datasets.toyworld.rig import RIG
from worldmodel.datasets.toyworld.tables import TABLES
from worldmodel.errors import InputError

CHANNELS = {camera.channel for camera in RIG}


@pytest.fixture(scope="module")
def nusc(toy_root: Path):
    devkit = pytest.importorskip("nuscenes.nuscenes", reason="nuscenes-devkit is not installed")
    return devkit.NuScenes("v1.0-toy", str(toy_root), verbose=False)


@pytest.fixture(scope="module")
def tables(toy_root: Path) -> dict[str, list[dict]]:
    return {name: json.loads((toy_root / "v1.0-toy" / f"{name}.json").read_text()) for name in TABLES}


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_devkit_lists_the_scenes(nusc) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        nusc.list_scenes()
    assert "toy-0000, straight" in said.getvalue() and "toy-9000, straight" in said.getvalue()


def test_devkit_draws_boxes_on_every_camera(nusc, tmp_path: Path) -> None:
    sample = nusc.sample[1]
    assert set(sample["data"]) == CHANNELS
    boxes = 0
    for channel, data in sample["data"].items():
        picture = tmp_path / f"{channel}.png"
        nusc.render_sample_data(data, with_anns=True, out_path=str(picture), verbose=False)
        assert np.asarray(Image.open(picture)).std() > 10
        boxes += len(nusc.get_sample_data(data)[1])
    assert boxes > 0


def test_devkit_reads_splits_and_map(nusc, toy_root: Path) -> None:
    from nuscenes.utils.splits import get_scenes_of_custom_split

    assert get_scenes_of_custom_split("val", nusc) == ["toy-9000"]
    for scene in nusc.scene:
        mask = nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])["mask"]
        first = nusc.get("sample", scene["first_sample_token"])
        pose = nusc.get("ego_pose", nusc.get("sample_data", first["data"]["CAM_FRONT"])["ego_pose_token"])
        x, y, _ = pose["translation"]
        assert mask.is_on_mask(x, y)[0], "the ego vehicle drives on the road of its map"
        assert not mask.is_on_mask(x - 5e3, y)[0]


def test_devkit_interpolates_boxes_as_we_drive(nusc) -> None:
    """Boxes of a sweep between keyframes, interpolated by the devkit, move forward in time."""
    data = nusc.get("sample_data", nusc.sample[1]["data"]["CAM_FRONT"])
    before = nusc.get("sample_data", data["prev"])
    assert not before["is_key_frame"]
    assert len(nusc.get_boxes(before["token"])) == len(nusc.sample[1]["anns"])


def test_every_token_is_unique_and_every_reference_found(tables) -> None:
    known = {name: {row["token"] for row in rows} for name, rows in tables.items()}
    for name, rows in tables.items():
        assert len(known[name]) == len(rows) > 0, name
        for row in rows:
            assert name == "visibility" or (len(row["token"]) == 32 and int(row["token"], 16) >= 0)
            for key, value in row.items():
                if key in ("prev", "next") and value:
                    assert value in known[name], (name, key)
                if key.endswith("_token") and key[:-6] in known:
                    assert value in known[key[:-6]], (name, key)
                if key.endswith("_tokens"):
                    assert set(value) <= known[key[:-7]], (name, key)
    for scene in tables["scene"]:
        assert {scene["first_sample_token"], scene["last_sample_token"]} <= known["sample"]
    for instance in tables["instance"]:
        ends = {instance["first_annotation_token"], instance["last_annotation_token"]}
        assert ends <= known["sample_annotation"]


@pytest.mark.parametrize("name", ["sample", "sample_data", "sample_annotation"])
def test_chains_run_forward_and_back(tables, name: str) -> None:
    rows = {row["token"]: row for row in tables[name]}
    for row in rows.values():
        if row["next"]:
            assert rows[row["next"]]["prev"] == row["token"]
        if name != "sample_annotation" and row["next"]:
            assert rows[row["next"]]["timestamp"] > row["timestamp"]


def test_pictures_have_their_poses_and_sizes(tables, toy_root: Path) -> None:
    poses = {row["token"]: row for row in tables["ego_pose"]}
    for data in tables["sample_data"]:
        assert data["timestamp"] == poses[data["ego_pose_token"]]["timestamp"]
        assert data["filename"].startswith("samples/") == data["is_key_frame"]
        with Image.open(toy_root / data["filename"]) as picture:
            assert picture.size == (data["width"], data["height"]) == (160, 90)


def test_one_and_two_workers_write_the_same_bytes(toy_root: Path, toy_root_two_workers: Path) -> None:
    one, two = files_of(toy_root), files_of(toy_root_two_workers)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    card = json.loads(one["toyworld.json"])
    assert card["data_sha256"] == data_hash(toy_root)
    assert card["recipe"]["seed"] == 0 and "workers" not in card["recipe"]


def test_scenes_do_not_depend_on_how_many_there_are(toy_root: Path, small: ToyWorldConfig, tmp_path: Path) -> None:
    alone = make_toyworld(tmp_path / "alone", replace(small, train_scenes=0), progress=False)
    for folder in ("samples/CAM_BACK", "sweeps/CAM_FRONT_LEFT"):
        ours, theirs = (sorted((root / folder).glob("*toy-9000*")) for root in (alone, toy_root))
        assert ours and [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_same_recipe_is_reused_another_refused(toy_root: Path, small: ToyWorldConfig) -> None:
    stamp = (toy_root / "toyworld.json").stat().st_mtime_ns
    assert make_toyworld(toy_root, small, progress=False) == toy_root
    assert (toy_root / "toyworld.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another recipe.*overwrite=true"):
        make_toyworld(toy_root, ToyWorldConfig(train_scenes=2, seconds=1.5), progress=False)


def test_nothing_but_a_toy_world_is_overwritten(tmp_path: Path, small: ToyWorldConfig) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no toy world"):
        make_toyworld(tmp_path, small, progress=False, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "toyworld.json").write_text("{")
    with pytest.raises(InputError, match="no recipe card"):
        make_toyworld(tmp_path, small, progress=False)


def test_overwrite_replaces_a_toy_world(tmp_path: Path) -> None:
    def recipe(seed: int) -> ToyWorldConfig:
        return ToyWorldConfig(train_scenes=0, val_scenes=1, seconds=0.5, seed=seed, size=(32, 18), workers=1)

    root = make_toyworld(tmp_path / "toy", recipe(0), progress=False)
    before = data_hash(root)
    assert data_hash(make_toyworld(root, recipe(1), progress=False, overwrite=True)) != before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"], "no temporary folder is left"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"train_scenes": 0, "val_scenes": 0}, "at least one scene"),
        ({"seconds": 0.1}, "seconds=0.1"),
        ({"size": (8, 8)}, "size"),
        ({"workers": 0}, "workers=0"),
        ({"jpeg_quality": 101}, "jpeg_quality=101"),
    ],
)
def test_wrong_recipes_are_named(wrong: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ToyWorldConfig(**wrong)
