"""`toyworld-val`: six cameras in step, the count that the recipe promises, rollouts of several chunks."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldmodel.benchmarks.clips import ClipsConfig, clip_list
from worldmodel.benchmarks.clips.toyworld_val import expected
from worldmodel.datasets.nuscenes import RING, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.datasets.toyworld.firing import scene_firing
from worldmodel.datasets.toyworld.rig import RIG
from worldmodel.datasets.toyworld.rows import Rows
from worldmodel.datasets.toyworld.scenes import scene_script
from worldmodel.datasets.toyworld.tables import TABLES, SceneTables, shared_rows
from worldmodel.errors import InputError

PHASES_S = {camera.channel: camera.fires_s for camera in RIG}


def test_clips_are_those_expected(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(list="toyworld-val", root=str(toy_root)))
    assert chosen.label == "toyworld-val@2" and chosen.tables == "v1.0-toy" and chosen.source["seconds"] == 5.0
    assert len(chosen) == chosen.expected == 2, "toy-9001 lacks frames where 34 in a row would be"
    assert {clip.scene for clip in chosen.clips} == {"toy-9000"}
    phases_s = np.array([PHASES_S[camera] for camera in RING])
    for clip in chosen.clips:
        assert clip.cameras == RING and clip.lead.camera == "CAM_FRONT"
        assert clip.lead.frames[0].startswith("samples/CAM_FRONT/")
        times_s = np.array([view.timestamps_us for view in clip.views]) * 1e-6
        apart = times_s - times_s[RING.index("CAM_FRONT")]
        assert np.abs(apart - (phases_s - PHASES_S["CAM_FRONT"])[:, None]).max() < 1e-5, "all of the same turns"
        assert set(np.round(np.diff(times_s) * 1000).ravel().tolist()) == {50, 100}
        assert all(f"/{view.camera}/" in frame for view in clip.views for frame in view.frames)
    first, second = (clip.lead.timestamps_us[0] for clip in chosen.clips)
    assert second >= np.array(chosen.clips[0].lead.timestamps_us)[17] > first, "no frame is predicted twice"


def test_what_the_recipe_promises_is_what_the_tables_give(tmp_path: Path) -> None:
    """Without pictures: the tables of drives of 8 s with frames missing here and there."""
    recipe = ToyWorldConfig(train_scenes=0, val_scenes=6, seconds=8.0, seed=2)
    rows: Rows = {name: [] for name in TABLES} | shared_rows()
    for number, (split, index, name) in enumerate(recipe.scenes()):
        script, firing = scene_script(2, split, index, name, 8.5), scene_firing(2, split, index, 8.0)
        for table, added in SceneTables(script, firing, 2, number, recipe.size).rows().items():
            rows[table] += added
    (tmp_path / "v1.0-toy").mkdir()
    for table, records in rows.items():
        (tmp_path / "v1.0-toy" / f"{table}.json").write_text(json.dumps(records))
    (tmp_path / "v1.0-toy" / "splits.json").write_text(json.dumps({"val": [name for _, _, name in recipe.scenes()]}))
    (tmp_path / "toyworld.json").write_text(json.dumps({"recipe": recipe.recipe()}))
    for frames in (34, 51, 68, 85):
        chosen = clip_list(ClipsConfig(root=str(tmp_path), frames=frames))
        assert 0 < len(chosen) == chosen.expected < 6 * (1 + (97 - frames) // 18), "some are lost to missing frames"


def test_actions_without_a_lidar_are_the_vehicles_own_path(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(root=str(toy_root)))
    index = open_index(toy_root, "v1.0-toy")
    for clip in chosen.clips:
        row = index.row("sample_data", clip.lead.start_token)
        poses = index.column("sample_data", "ego_pose_token")
        # the toy world's rows of a camera lie in order of time
        keys = row + np.flatnonzero(index.column("sample_data", "is_key_frame")[row:])[:5]
        place = index.column("ego_pose", "translation")[poses[keys]]
        w, _, _, z = index.column("ego_pose", "rotation")[poses[row]]
        yaw = 2 * np.arctan2(z, w)
        moved = place - place[0]
        ahead = moved[:, 0] * np.cos(yaw) + moved[:, 1] * np.sin(yaw)
        left = moved[:, 1] * np.cos(yaw) - moved[:, 0] * np.sin(yaw)
        assert clip.actions is not None
        assert np.allclose(np.reshape(clip.actions.traj, (5, 2)), np.stack([left, ahead], axis=1), atol=2e-6)


def test_rollouts_are_17_frames_longer_each(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(root=str(toy_root), frames=51))
    assert len(chosen) == chosen.expected == 1 and len(chosen.clips[0].lead.frames) == 51
    assert chosen.sha256 != clip_list(ClipsConfig(root=str(toy_root))).sha256
    for frames in (17, 35, 50):
        with pytest.raises(InputError, match="51, 68"):
            clip_list(ClipsConfig(root=str(toy_root), frames=frames))
    with pytest.raises(InputError, match="more seconds"):
        clip_list(ClipsConfig(root=str(toy_root), frames=68))


def test_count_of_the_default_world() -> None:
    assert expected(ToyWorldConfig().recipe(), 34) == 11
    assert expected(ToyWorldConfig().recipe(), 51) == 7
    assert expected(ToyWorldConfig(seconds=2.0).recipe(), 34) == 0


def test_an_evenly_spaced_world_of_before_is_refused(toy_root: Path, tmp_path: Path) -> None:
    card = json.loads((toy_root / "toyworld.json").read_text())
    (tmp_path / "toyworld.json").write_text(json.dumps({"recipe": card["recipe"] | {"generator": 1}}))
    with pytest.raises(InputError, match="another version of this package; draw it again .* overwrite=true"):
        clip_list(ClipsConfig(root=str(tmp_path)))
    with pytest.raises(InputError, match="another version of this package: .*overwrite=true"):
        make_toyworld(tmp_path, ToyWorldConfig(), progress=False)
    with pytest.raises(InputError, match="choose one of .*toyworld-val@2"):
        clip_list(ClipsConfig(list="toyworld-val@1", root=str(toy_root)))


def test_another_recipe_is_another_list(toy_root: Path, tmp_path: Path) -> None:
    same_names = tmp_path / "toy"
    same_names.mkdir()
    for entry in toy_root.iterdir():
        if entry.name != "toyworld.json":
            (same_names / entry.name).symlink_to(entry)
    card = (toy_root / "toyworld.json").read_text()
    (same_names / "toyworld.json").write_text(card.replace('"jpeg_quality": 90', '"jpeg_quality": 50'))
    lists = [clip_list(ClipsConfig(root=str(root))) for root in (toy_root, same_names)]
    assert lists[0].clips == lists[1].clips and lists[0].sha256 != lists[1].sha256


def test_no_toy_world(small_val: Path) -> None:
    with pytest.raises(InputError, match="no toy world; draw one"):
        clip_list(ClipsConfig(root=str(small_val)))
