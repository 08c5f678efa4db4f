"""The adapter on the toy world: six cameras at nuScenes' own times, judged by the devkit."""

from pathlib import Path

import numpy as np
import pytest
from nuscenes_small import assert_equals_devkit

from worldmodel.datasets.nuscenes import RING, available_splits, chunk_pairs, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.datasets.toyworld.rig import RIG

CONFIG = ToyWorldConfig(train_scenes=0, val_scenes=1, seconds=2.0, size=(96, 54), workers=1)


@pytest.fixture(scope="module")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "world"
    make_toyworld(root, CONFIG, progress=False)
    return root


@pytest.mark.devkit
def test_every_row_equals_the_devkit(toy_root: Path) -> None:
    assert_equals_devkit(toy_root, CONFIG.version)


def test_pairs_of_the_whole_ring(toy_root: Path) -> None:
    assert available_splits(toy_root, CONFIG.version)["val"] == ["toy-9000"]
    index = open_index(toy_root, CONFIG.version)
    pairs = chunk_pairs(index, split="val", observed_frames=9, future_frames=9, stride=2, size=(32, 48))
    assert pairs.cameras == RING and pairs.frame_rate == 12.0
    assert len(pairs) >= 2 and not pairs.report.short_scenes
    assert pairs.check().report.bad_images == []
    assert pairs.report.out_of_step == {}
    pair = pairs[0]
    assert pair.scene == "toy-9000" and pair.observed_NFCHW.shape == (6, 9, 3, 32, 48)
    phases_s = {camera.channel: camera.fires_s for camera in RIG}
    apart = pair.times_s - pair.times_s[0] - np.array([[phases_s[name] - phases_s[RING[0]]] for name in RING])
    assert np.abs(apart).max() < 1e-5, "all cameras of the same turns of the lidar, each at its phase"
    assert set(np.round(np.diff(pair.times_s, axis=1) * 1000).ravel().tolist()) == {50, 100}
    # the intrinsics are those of the frame: the optical axis of a nuScenes camera is near the centre of its picture
    assert np.abs(pair.intrinsics[:, 0, 2] - 24).max() < 4 and np.abs(pair.intrinsics[:, 1, 2] - 16).max() < 4
