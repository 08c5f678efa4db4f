"""Recordings, read back with Rerun's own reader."""

import copy
import dataclasses
import io
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from worldmodel.errors import InputError
from worldmodel.viewing import Rollout, estimate_bytes, psnr_per_frame, write_recording
from worldmodel.viewing.images import error_map


def read_columns(path: Path) -> dict[str, dict[str, list]]:
    """Entity path -> column name -> values by row, over all chunks of the recording."""
    from rerun.chunk import RrdReader

    content: dict[str, dict[str, list]] = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        columns = content.setdefault(str(chunk.entity_path), {})
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns.setdefault(name, []).extend(column.to_pylist())
    return content


def decoded(blob: list[list[int]]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(blob[0]))).convert("RGB"))


@pytest.fixture(scope="module")
def small_content(small_rollout, tmp_path_factory):
    path = write_recording(tmp_path_factory.mktemp("recording") / "small.rrd", small_rollout)
    return read_columns(path)


def test_entities_follow_reruns_nuscenes_example(small_content):
    for camera in ("CAM_FRONT", "CAM_FRONT_LEFT"):
        root = f"/world/ego_vehicle/{camera}"
        assert "Pinhole:image_from_camera" in small_content[root] and "Transform3D:translation" in small_content[root]
        for what in ("observed", "truth", "predicted/ours", "predicted/repeat", "error/ours", "error/repeat"):
            assert "EncodedImage:blob" in small_content[f"{root}/{what}"], what
        assert f"/metrics/psnr/ours/{camera}" in small_content
    assert {"/world", "/world/trajectory/observed", "/world/trajectory/future", "/settings"} <= set(small_content)


def test_timelines_place_observed_before_predicted(small_content, small_rollout):
    observed = small_content["/world/ego_vehicle/CAM_FRONT_LEFT/observed"]
    predicted = small_content["/world/ego_vehicle/CAM_FRONT_LEFT/predicted/ours"]
    assert observed["rollout_frame"] == list(range(5)) and predicted["rollout_frame"] == list(range(5, 13))
    seconds = [stamp.timestamp() for stamp in observed["timestamp"] + predicted["timestamp"]]
    offset = seconds[0] - small_rollout.times_s[1, 0]  # a naive datetime is read in the machine's own time zone
    np.testing.assert_allclose(np.array(seconds) - offset, small_rollout.times_s[1], atol=1e-5)


def test_truth_is_cleared_where_it_ends(small_content):
    truth = small_content["/world/ego_vehicle/CAM_FRONT/truth"]
    assert truth["rollout_frame"] == [5, 6, 7, 8, 9, 10, 11]  # six images, then the clear
    assert truth["Clear:is_recursive"] == [[False]] and len(truth["EncodedImage:blob"]) == 6
    assert "Clear:is_recursive" not in small_content["/world/ego_vehicle/CAM_FRONT/predicted/ours"]


def test_images_decode_to_the_frames(small_content, small_rollout):
    blobs = small_content["/world/ego_vehicle/CAM_FRONT_LEFT/predicted/ours"]["EncodedImage:blob"]
    for index, blob in enumerate(blobs):
        frame_HWC = small_rollout.predicted_NGCHW["ours"][1, index].permute(1, 2, 0).numpy()
        assert np.abs(decoded(blob).astype(int) - frame_HWC).mean() < 8, index
    assert blobs[0] != blobs[1]


def test_png_is_lossless(small_rollout, tmp_path):
    content = read_columns(write_recording(tmp_path / "small.rrd", small_rollout, image_format="png"))
    truth = content["/world/ego_vehicle/CAM_FRONT/truth"]["EncodedImage:blob"]
    np.testing.assert_array_equal(decoded(truth[3]), small_rollout.truth_NTCHW[0, 3].permute(1, 2, 0).numpy())
    error = content["/world/ego_vehicle/CAM_FRONT/error/repeat"]["EncodedImage:blob"]
    expected = error_map(small_rollout.predicted_NGCHW["repeat"][0, :6], small_rollout.truth_NTCHW[0])
    np.testing.assert_array_equal(decoded(error[5]), expected[5].permute(1, 2, 0).numpy())


def test_vehicle_moves_as_its_poses_say(small_content, small_rollout):
    vehicle = small_content["/world/ego_vehicle"]
    positions = np.array([row[0] for row in vehicle["Transform3D:translation"]])
    np.testing.assert_allclose(positions, small_rollout.ego_poses[0, :, :3, 3], atol=1e-3)
    rotation = np.array(vehicle["Transform3D:mat3x3"][7][0]).reshape(3, 3).T  # Rerun keeps matrices by column
    np.testing.assert_allclose(rotation, small_rollout.ego_poses[0, 7, :3, :3], atol=1e-6)


def test_rig_stands_as_its_calibration_says(small_content, small_rollout):
    for camera, name in enumerate(small_rollout.cameras):
        rig, pose = small_content[f"/world/ego_vehicle/{name}"], small_rollout.extrinsics[camera]
        stored = next(row for row in rig["Transform3D:mat3x3"] if row)
        np.testing.assert_allclose(np.array(stored[0]).reshape(3, 3).T, pose[:3, :3], atol=1e-6)
        np.testing.assert_allclose(
            next(row for row in rig["Transform3D:translation"] if row)[0], pose[:3, 3], atol=1e-6
        )
        pinhole = np.array(rig["Pinhole:image_from_camera"][0][0]).reshape(3, 3).T
        np.testing.assert_allclose(pinhole, small_rollout.intrinsics[camera], rtol=1e-6)
        assert rig["Pinhole:resolution"][0][0] == [72.0, 48.0]


def test_curves_are_the_psnr(small_content, small_rollout):
    expected = psnr_per_frame(small_rollout.predicted_NGCHW["ours"][:, :6], small_rollout.truth_NTCHW)
    values = np.array(small_content["/metrics/psnr/ours/CAM_FRONT_LEFT"]["Scalars:scalars"][-11:])[:, 0]
    assert np.isnan(values[:5]).all()
    np.testing.assert_allclose(values[5:], expected[1])
    mean = np.array(small_content["/metrics/psnr/ours/mean"]["Scalars:scalars"][-11:])[:, 0]
    np.testing.assert_allclose(mean[5:], expected.mean(axis=0))


def test_settings_are_told(small_content):
    text = small_content["/settings"]["TextDocument:text"][0][0]
    assert "**NFE**: 5" in text and "5 is the first predicted frame" in text and "6 with truth" in text


def test_full_size_recording_is_small_and_was_estimated(full_rollout, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="worldmodel"):
        size = write_recording(tmp_path / "full.rrd", full_rollout).stat().st_size
    assert size < 20e6
    estimate = estimate_bytes(full_rollout)
    assert size / 1.5 < estimate < size * 1.5
    assert f"about {estimate / 1e6:.1f} MB" in caplog.text


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_small_recordings_are_estimated_too(small_rollout, tmp_path, image_format):
    size = write_recording(tmp_path / "small.rrd", small_rollout, image_format=image_format).stat().st_size
    assert size / 1.5 < estimate_bytes(small_rollout, image_format=image_format) < size * 1.5


def test_a_film_without_calibration_and_truth_has_no_rig_and_no_curves(make_rollout, tmp_path):
    rollout = make_rollout(("my drive/1.mp4",), observed=3, horizon=2, truth=0, height=32, width=48)
    content = read_columns(write_recording(tmp_path / "film.rrd", rollout))
    assert "/world/ego_vehicle/my\\ drive\\/1.mp4/predicted/flowframes" in content
    assert not any(entity.startswith(("/metrics", "/world/trajectory")) for entity in content)


def test_a_bad_name_or_format_leaves_nothing_behind(small_rollout, tmp_path):
    with pytest.raises(InputError, match=r"needs a name ending in \.rrd; use .*small\.rrd"):
        write_recording(tmp_path / "small.mp4", small_rollout)
    with pytest.raises(InputError, match="image_format bmp: not known; use jpeg or png"):
        write_recording(tmp_path / "small.rrd", small_rollout, image_format="bmp")
    broken = dataclasses.replace(small_rollout, settings={"x": Unprintable()})
    with pytest.raises(RuntimeError):
        write_recording(tmp_path / "small.rrd", broken)
    assert list(tmp_path.iterdir()) == []


class Unprintable:
    """A setting that breaks the writing half way."""

    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")


def changed(rollout: Rollout, **fields) -> Rollout:
    """A rollout as it is outside of tests, where nothing checks the annotated shapes before it does."""
    rollout = copy.copy(rollout)
    for name, value in fields.items():
        object.__setattr__(rollout, name, value)
    rollout.__post_init__()
    return rollout


def test_sizes_that_do_not_belong_together_are_refused(small_rollout):
    predicted, truth = small_rollout.predicted_NGCHW, small_rollout.truth_NTCHW
    with pytest.raises(InputError, match=r"prediction of ours is \[2, 8, 3, 48, 36\]; give \[2, 8, 3, 48, 72\]"):
        changed(small_rollout, predicted_NGCHW={**predicted, "ours": predicted["ours"][..., :36]})
    with pytest.raises(InputError, match=r"times_s is \[2, 12\]; give \[2, 13\]"):
        changed(small_rollout, times_s=small_rollout.times_s[:, 1:])
    with pytest.raises(InputError, match="no prediction"):
        changed(small_rollout, predicted_NGCHW={})
    with pytest.raises(InputError, match="12 true frames for 8 predicted; give at most 8"):
        changed(small_rollout, truth_NTCHW=torch.cat([truth, truth], dim=1))


def test_of_pair_goes_on_beyond_the_pair(make_rollout):
    from worldmodel.datasets.pairs import PixelPair

    known = make_rollout(("CAM_FRONT", "CAM_BACK"), observed=5, horizon=4, truth=4, height=32, width=48)
    pair = PixelPair(
        known.scene,
        known.cameras,
        known.observed_NFCHW,
        known.truth_NTCHW,
        known.times_s,
        12.0,
        known.intrinsics,
        known.extrinsics,
        known.ego_poses,
    )
    longer = torch.zeros(2, 10, 3, 32, 48, dtype=torch.uint8)
    rollout = Rollout.of_pair(pair, {"ours": longer}, chunk_frames=5)
    assert rollout.truth_frames == 4 and rollout.horizon == 10
    steps_s = np.diff(rollout.times_s, axis=1)
    assert np.array_equal(rollout.times_s[:, :9], known.times_s) and steps_s[:, :8].std() > 0.02
    np.testing.assert_allclose(steps_s[:, 8:], 1 / 12, atol=1e-6)  # beyond the pair at the nominal rate
    speed = np.linalg.norm(np.diff(rollout.ego_poses[0, :, :3, 3], axis=0), axis=1) / steps_s[0]
    np.testing.assert_allclose(speed, 8.0, rtol=1e-3)  # the circle of the made-up drive goes on
    centre = np.array([600.0, 1660.0])
    np.testing.assert_allclose(np.linalg.norm(rollout.ego_poses[1, :, :2, 3] - centre, axis=1), 60.0, rtol=1e-6)
    minutes = Rollout.of_pair(pair, {"ours": longer[:, :1].expand(-1, 1200, -1, -1, -1)})
    np.testing.assert_allclose(np.linalg.norm(minutes.ego_poses[1, :, :2, 3] - centre, axis=1), 60.0, rtol=1e-6)
    assert Rollout.of_pair(pair, {"ours": longer[:, :2]}).times_s.shape == (2, 7)
    assert Rollout.of_pair(pair, {"ours": longer}, has_truth=False).truth_NTCHW is None


def test_importing_the_room_does_not_import_rerun_or_av():
    code = (
        "import sys, worldmodel.viewing; sys.exit(any(name in sys.modules for name in ('rerun', 'av', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
