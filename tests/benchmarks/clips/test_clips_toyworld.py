"""`toyworld-val`: six cameras in step, the count that the recipe promises, rollouts of several chunks."""

from pathlib import Path

import numpy as np
import pytest

from worldmodel.benchmarks.clips import ClipsConfig, clip_list
from worldmodel.benchmarks.clips.toyworld_val import expected
from worldmodel.datasets.nuscenes import RING, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig
from worldmodel.errors import InputError


def test_clips_are_those_expected(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(list="toyworld-val", root=str(toy_root)))
    assert len(chosen) == chosen.expected == 2 and {clip.scene for clip in chosen.clips} == {"toy-9000"}
    assert chosen.tables == "v1.0-toy" and chosen.source["seconds"] == 5.0
    for clip in chosen.clips:
        assert clip.cameras == RING and clip.lead.camera == "CAM_FRONT"
        assert clip.lead.frames[0].startswith("samples/CAM_FRONT/")
        times_s = np.array([view.timestamps_us for view in clip.views]) * 1e-6
        assert np.abs(times_s - times_s[RING.index("CAM_FRONT")]).max() < 0.8 / 12
        assert all(f"/{view.camera}/" in frame for view in clip.views for frame in view.frames)
    first, second = (clip.lead.timestamps_us[0] for clip in chosen.clips)
    assert second - first == pytest.approx(1_500_000, abs=2)


def test_actions_without_a_lidar_are_the_vehicles_own_path(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(root=str(toy_root)))
    index = open_index(toy_root, "v1.0-toy")
    for clip in chosen.clips:
        row = index.row("sample_data", clip.lead.start_token)
        poses = index.column("sample_data", "ego_pose_token")
        keys = [row + 6 * key for key in range(5)]  # the toy world's rows of a camera lie in order of time
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
    assert expected(ToyWorldConfig().recipe(), 34) == 15
    assert expected(ToyWorldConfig().recipe(), 51) == 10
    assert expected(ToyWorldConfig(seconds=2.0).recipe(), 34) == 0


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
