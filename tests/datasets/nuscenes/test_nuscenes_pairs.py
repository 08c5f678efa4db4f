"""Chunk pairs: the right frames with the right times and poses, what is left out and why, and workers."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nuscenes_small import CAMERAS, SIZE, SOURCE, VERSION, edit_table, token, write_dataset
from torch.utils.data import DataLoader

from worldmodel.datasets.nuscenes import RING, chunk_pairs, open_index
from worldmodel.errors import InputError

SMALL = {"size": SIZE, "observed_frames": 5, "future_frames": 3, "stride": 8}


def shown(frames_CHW: torch.Tensor) -> tuple[int, int]:
    """Camera and number that `nuscenes_small` drew into a frame."""
    red, green, _ = frames_CHW[:, SIZE[0] // 2, SIZE[1] // 2].tolist()
    return round((red - 20) / 60), round((green - 10) / 5)


def test_frames_follow_each_other_camera_by_camera(small_root: Path) -> None:
    pairs = chunk_pairs(open_index(small_root, VERSION), **SMALL)
    assert pairs.cameras == ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_BACK"), "ring order, cameras that are present"
    assert [name for name in RING if name in CAMERAS] == list(pairs.cameras)
    assert len(pairs) == 2 * 5 and pairs.frame_rate == 12.0
    for number in range(len(pairs)):
        pair = pairs[number]
        assert pair.observed_NFCHW.shape == (3, 5, 3, *SIZE) and pair.future_NGCHW.shape == (3, 3, 3, *SIZE)
        frames = torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)
        first = 8 * (number % 5)
        for camera in range(3):
            expected = [(CAMERAS.index(pair.cameras[camera]), first + frame) for frame in range(8)]
            assert [shown(frame) for frame in frames[camera]] == expected
        assert pair.scene == ("scene-0061" if number < 5 else "scene-0103")
    with pytest.raises(IndexError):
        pairs[len(pairs)]
    assert torch.equal(pairs[-1].observed_NFCHW, pairs[len(pairs) - 1].observed_NFCHW)


@pytest.mark.devkit
def test_times_poses_and_calibration_equal_the_devkit(small_root: Path) -> None:
    from nuscenes import NuScenes
    from nuscenes.utils.geometry_utils import transform_matrix
    from pyquaternion import Quaternion

    devkit = NuScenes(VERSION, str(small_root), verbose=False)
    by_file = {str(small_root / record["filename"]): record for record in devkit.sample_data}
    pair = chunk_pairs(open_index(small_root, VERSION), scenes=["scene-0103"], cameras=["CAM_BACK"], **SMALL)[1]
    for frame, path in enumerate(pair.paths[0]):
        record = by_file[path]
        assert record["channel"] == "CAM_BACK"
        assert pair.times_s[0, frame] == pytest.approx(record["timestamp"] * 1e-6, abs=1e-6)
        pose = devkit.get("ego_pose", record["ego_pose_token"])
        expected = transform_matrix(pose["translation"], Quaternion(pose["rotation"]))
        np.testing.assert_allclose(pair.ego_poses[0, frame], expected, atol=1e-12)
    calibrated = devkit.get("calibrated_sensor", by_file[pair.paths[0][0]]["calibrated_sensor_token"])
    expected = transform_matrix(calibrated["translation"], Quaternion(calibrated["rotation"]))
    np.testing.assert_allclose(pair.extrinsics[0], expected, atol=1e-12)
    # 320 x 180 is cropped to 270 x 180 (25 px off on the left) and scaled by 96 / 270 = 64 / 180.
    scale = SIZE[0] / SOURCE[0]
    raw = calibrated["camera_intrinsic"]
    assert pair.intrinsics[0, 0, 0] == pytest.approx(raw[0][0] * scale)
    assert pair.intrinsics[0, 0, 2] == pytest.approx((raw[0][2] - 25) * scale)
    assert pair.intrinsics[0, 1, 2] == pytest.approx(raw[1][2] * scale)


def test_one_camera_and_any_lengths(small_root: Path) -> None:
    index = open_index(small_root, VERSION)
    pairs = chunk_pairs(index, cameras=["CAM_BACK"], observed_frames=1, future_frames=30, stride=1, size=(32, 32))
    assert len(pairs) == 2 * 10
    assert pairs[3].future_NGCHW.shape == (1, 30, 3, 32, 32)
    assert (pairs.frame_rows([3])[0, 0] % 40).tolist() == list(range(3, 34))


def test_split_and_scenes_choose(small_root: Path) -> None:
    index = open_index(small_root, VERSION)
    val = chunk_pairs(index, split="mini_val", **SMALL)
    assert {val.scene(number) for number in range(len(val))} == {"scene-0103"}
    assert val.report.absent_scenes == ["scene-0916"]
    assert len(chunk_pairs(index, scenes=["scene-0061"], **SMALL)) == 5
    assert len(chunk_pairs(index, scenes="scene-0061", **SMALL)) == 5


def shift(camera: str, frames: slice, by_us: int) -> Callable[[list[dict]], None]:
    """Move the capture times of some frames of one camera."""

    def change(records: list[dict]) -> None:
        mine = [record for record in records if f"/{camera}/" in record["filename"]]
        for record in mine[frames]:
            record["timestamp"] += by_us

    return change


def test_a_gap_is_not_bridged(own_root: Path) -> None:
    edit_table(own_root, "sample_data", shift("CAM_FRONT", slice(11, None), 100_000))  # two turns more behind 10
    pairs = chunk_pairs(open_index(own_root, VERSION), cameras=["CAM_FRONT"], **SMALL)
    assert [shown(pairs[number].observed_NFCHW[0, 0])[1] for number in range(len(pairs))] == [0, 11, 19, 27]
    assert pairs.report.gaps == {"CAM_FRONT": 1}
    assert "gaps: CAM_FRONT 1" in str(pairs.report)
    wide = chunk_pairs(open_index(own_root, VERSION), cameras=["CAM_FRONT"], max_gap=0.45, **SMALL | {"stride": 1})
    assert len(wide) == 4 + 22


def test_a_dropped_frame_of_another_camera_is_matched_anew(own_root: Path) -> None:
    def drop(records: list[dict]) -> None:
        mine = [record for record in records if "/CAM_BACK/" in record["filename"]]
        mine[19]["next"], mine[21]["prev"] = mine[21]["token"], mine[19]["token"]
        records.remove(mine[20])

    edit_table(own_root, "sample_data", drop)
    pairs = chunk_pairs(open_index(own_root, VERSION), cameras=["CAM_FRONT", "CAM_BACK"], **SMALL)
    starts = [[shown(pairs[number].observed_NFCHW[camera, 0])[1] for camera in (0, 1)] for number in range(len(pairs))]
    assert starts == [[0, 0], [8, 8], [21, 21], [29, 29]], "behind the gap the cameras show the same instant again"
    assert pairs.report.gaps == {"CAM_BACK": 1}
    assert set(pairs.report.out_of_step) == {"CAM_BACK"}


def test_cameras_stay_within_half_a_frame(own_root: Path) -> None:
    edit_table(own_root, "sample_data", shift("CAM_BACK", slice(None), 3 * 83_333 + 30_000))
    pairs = chunk_pairs(open_index(own_root, VERSION), cameras=["CAM_FRONT", "CAM_BACK"], **SMALL)
    apart = np.concatenate([pairs[number].times_s[1] - pairs[number].times_s[0] for number in range(len(pairs))])
    assert np.abs(apart).max() < 0.8 / 12
    assert shown(pairs[0].observed_NFCHW[0, 0])[1] - shown(pairs[0].observed_NFCHW[1, 0])[1] in (3, 4)


def test_cameras_that_never_meet_give_no_pair(own_root: Path) -> None:
    edit_table(own_root, "sample_data", shift("CAM_BACK", slice(None), 10_000_000))
    with pytest.raises(InputError, match="CAM_BACK never have 8 frames within 83 ms of each other"):
        chunk_pairs(open_index(own_root, VERSION), **SMALL)


def test_short_scenes_are_reported_or_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "two", scenes=("scene-0061",), frames=40)

    def cut(records: list[dict]) -> None:
        mine = [record for record in records if "/CAM_BACK/" in record["filename"]]
        mine[4]["next"] = ""
        for record in mine[5:]:
            records.remove(record)

    edit_table(root, "sample_data", cut)
    with pytest.raises(InputError) as caught:
        chunk_pairs(open_index(root, VERSION), size=SIZE)
    assert "scene-0061: CAM_BACK has 5 frames, 34 needed; ask for fewer" in str(caught.value)
    assert len(chunk_pairs(open_index(root, VERSION), size=SIZE, cameras=["CAM_FRONT"])) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"scenes": ["scene-9999"]}, "scene 'scene-9999' is not in .*; it has scene-0061, scene-0103"),
        ({"scenes": []}, "no scene to cut"),
        ({"split": "dusk"}, "split 'dusk' is unknown in .*; use one of train, val"),
        ({"split": "test"}, "no scene of split 'test' is in .*; it has scene-0061"),
        ({"split": "val", "scenes": ["scene-0061"]}, "scenes or split, not both"),
        ({"cameras": ["CAM_ROOF"]}, r"camera 'CAM_ROOF' is not in .*sensor.json; use one of CAM_FRONT"),
        ({"cameras": ["LIDAR_TOP"]}, "camera 'LIDAR_TOP'"),
        ({"cameras": []}, "cameras is empty"),
        ({"cameras": ["CAM_BACK", "CAM_BACK"]}, "names CAM_BACK twice"),
        ({"observed_frames": 0}, "observed_frames=0"),
        ({"stride": 0}, "stride=0"),
        ({"size": (0, 4)}, r"size=\(0, 4\)"),
        ({"resample": "nearest"}, "resample='nearest' is unknown; use one of area, vista"),
        ({"max_gap": 1.5}, "max_gap=1.5"),
        ({"observed_frames": 30}, "CAM_FRONT_LEFT has 40 frames, 47 needed"),
    ],
)
def test_what_cannot_be_asked_for(small_root: Path, arguments: dict, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        chunk_pairs(open_index(small_root, VERSION), **{"size": SIZE} | arguments)
    assert "\n" not in str(caught.value)


def picture(root: Path, camera: str, number: int) -> Path:
    import json

    records = json.loads((root / VERSION / "sample_data.json").read_text())
    return root / next(r["filename"] for r in records if r["token"] == token("scene-0061", camera, number))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 12] = b"\xff\xd1\x00\x13\x37\xff\xc4\x00\xff\xff\x00\x01"
    path.write_bytes(bytes(data))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (Path.unlink, "cannot be read .No such file"),
    "0 bytes": (lambda path: path.write_bytes(b""), "has 0 bytes"),
    "truncated": (truncate, "truncated or corrupt"),
    "corrupt": (corrupt, "truncated or corrupt"),
    "text": (lambda path: path.write_text("404 not found"), "truncated or corrupt"),
}


@pytest.mark.parametrize("resample", ["area", "vista"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_picture_is_named(own_root: Path, damage: str, resample: str) -> None:
    apply, expected = DAMAGE[damage]
    bad = picture(own_root, "CAM_BACK", 10)
    apply(bad)
    pairs = chunk_pairs(open_index(own_root, VERSION), resample=resample, **SMALL)
    pairs[0]
    with pytest.raises(InputError, match=expected) as caught:
        pairs[1]
    message = str(caught.value)
    assert str(bad) in message and token("scene-0061", "CAM_BACK", 10) in message and "\n" not in message


def damaged(root: Path) -> list[Path]:
    """Three bad pictures in two of the five pairs."""
    bad = [picture(root, "CAM_BACK", 10), picture(root, "CAM_FRONT", 11), picture(root, "CAM_FRONT", 24)]
    for path, (apply, _) in zip(bad, (DAMAGE["absent"], DAMAGE["0 bytes"], DAMAGE["corrupt"]), strict=True):
        apply(path)
    return bad


def test_check_names_every_bad_picture_and_leaves_its_pairs_out(own_root: Path) -> None:
    bad = damaged(own_root)
    pairs = chunk_pairs(open_index(own_root, VERSION), **SMALL)
    for workers in (0, 2):
        sound = pairs.check(workers)
        assert len(sound) == 3 and sound.report.bad_pairs == 2 and sound.report.pairs == 3
        assert len(sound.report.bad_images) == 3
        for path in bad:
            assert any(str(path) in message for message in sound.report.bad_images)
        assert [shown(sound[number].observed_NFCHW[0, 0])[1] for number in range(3)] == [0, 16, 32]
    assert str(bad[0]) in str(sound.report)


@pytest.mark.parametrize(
    ("context", "workers"),
    [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)],  # a spawned worker imports torch anew
)
def test_workers_skip_bad_pairs_and_the_report_knows(own_root: Path, context: str, workers: int) -> None:
    bad = damaged(own_root)
    pairs = chunk_pairs(open_index(own_root, VERSION), skip_bad=True, **SMALL)
    assert pairs.report.bad_images == []
    loader = DataLoader(
        pairs, batch_size=2, num_workers=workers, collate_fn=list, multiprocessing_context=context, timeout=120
    )
    batches = list(loader)
    assert [len(batch) for batch in batches] == [2, 2, 1], "no hole: a bad pair is replaced"
    first = [shown(pair.observed_NFCHW[0, 0])[1] for batch in batches for pair in batch]
    assert first == [0, 16, 16, 32, 32]
    report = pairs.report
    assert report.bad_pairs == 2 and report.pairs == 3 and len(report.bad_images) == 3
    assert all(any(str(path) in message for message in report.bad_images) for path in bad)


def test_nothing_but_bad_pictures_ends_in_an_error(own_root: Path) -> None:
    for path in own_root.glob("s*/*/*.jpg"):
        path.unlink()
    pairs = chunk_pairs(open_index(own_root, VERSION), skip_bad=True, **SMALL)
    with pytest.raises(InputError, match="every one of the 5 chunk pairs"):
        pairs[2]
    assert pairs.report.pairs == 0


def test_pairs_pickle_small_and_give_the_same_frames(small_root: Path) -> None:
    pairs = chunk_pairs(open_index(small_root, VERSION), **SMALL)
    packed = pickle.dumps(pairs)
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)[4].future_NGCHW, pairs[4].future_NGCHW)
    assert torch.equal(pairs.subset([7, 2])[0].observed_NFCHW, pairs[7].observed_NFCHW)


def test_a_rig_of_other_names_without_calibration(own_root: Path) -> None:
    def rename(records: list[dict]) -> None:
        for record, name in zip(records, ("front", "left", "rear"), strict=False):
            record["channel"] = name

    edit_table(own_root, "sensor", rename)
    edit_table(
        own_root, "calibrated_sensor", lambda records: [record.update(camera_intrinsic=[]) for record in records]
    )
    pairs = chunk_pairs(open_index(own_root, VERSION), **SMALL)
    assert pairs.cameras == ("front", "left", "rear")
    assert pairs[0].intrinsics is None and pairs[0].extrinsics.shape == (3, 4, 4)
