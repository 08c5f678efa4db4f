"""Tables that this project did not make: real time stamps, chains and splits, and the format as others write it."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes_small import assert_equals_devkit
from PIL import Image

from worldmodel.cli.commands.data_index import IndexVerb, index
from worldmodel.datasets.nuscenes import RING, chunk_pairs, official_splits, open_index
from worldmodel.datasets.sources import open_source
from worldmodel.errors import InputError

TABLES = Path(os.environ.get("WORLDMODEL_TEST_DATA", "../shared/data")) / "nuscenes_tables"
GAP_US = 125_000  # between what real cameras have with (149 ms) and without (102 ms) a missing frame
IN_STEP_US = 83_334


def copy_of(name: str, place: Path) -> Path:
    """A copy that an index may be written beside."""
    if not (TABLES / name).is_dir():
        pytest.skip(f"{TABLES / name} is not there; set WORLDMODEL_TEST_DATA to the folder of shared test data")
    return Path(shutil.copytree(TABLES / name, place / name, copy_function=shutil.copyfile))


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of mini_val with the published times, and a picture for every frame of CAM_FRONT and CAM_BACK."""
    root = copy_of("mini_val_joined", tmp_path_factory.mktemp("real"))
    picture = root / "picture.jpg"
    Image.new("RGB", (160, 90), (70, 110, 90)).save(picture)
    for record in json.loads((root / "v1.0-mini" / "sample_data.json").read_text()):
        if "/CAM_FRONT/" in record["filename"] or "/CAM_BACK/" in record["filename"]:
            path = root / record["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(picture)
    return root


def test_all_scenes_of_val_at_12_hz(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = copy_of("val_front_structure", tmp_path)
    index(IndexVerb(root=str(root), version="v1.0-trainval", split="val"))
    said = capsys.readouterr().out
    assert "CAM_FRONT at 12 frames per second" in said and "from 150 scenes" in said
    pairs = chunk_pairs(open_index(root, "v1.0-trainval"), split="val")
    assert pairs.frame_rate == 12.0 and pairs.report.gaps == {} and pairs.report.short_scenes == []
    assert {pairs.scene(number) for number in range(len(pairs))} == set(official_splits()["val"])


@pytest.mark.devkit
def test_every_row_of_real_tables_equals_the_devkit(mini: Path) -> None:
    assert_equals_devkit(mini, "v1.0-mini")


class Slow:
    """The same question answered by plain Python on the JSON: one list of (time, token) per camera and scene."""

    def __init__(self, tables: Path) -> None:
        read = {
            name: json.loads((tables / f"{name}.json").read_text())
            for name in ("scene", "sample", "sensor", "calibrated_sensor", "sample_data")
        }
        channel = {one["token"]: one["channel"] for one in read["sensor"]}
        camera = {one["token"]: channel[one["sensor_token"]] for one in read["calibrated_sensor"]}
        scene = {one["token"]: one["name"] for one in read["scene"]}
        in_scene = {one["token"]: scene[one["scene_token"]] for one in read["sample"]}
        self.next = {one["token"]: one["next"] for one in read["sample_data"]}
        self.frames: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for one in read["sample_data"]:
            place = in_scene[one["sample_token"]], camera[one["calibrated_sensor_token"]]
            self.frames.setdefault(place, []).append((one["timestamp"], one["token"]))
        for frames in self.frames.values():
            frames.sort()

    def run(self, frames: list[tuple[int, str]], start: int, length: int) -> list[tuple[int, str]] | None:
        """Frames from `start` on, if each is linked to the next and none is missing."""
        run = frames[start : start + length]
        if start < 0 or len(run) < length:
            return None
        for (time, token), (later, following) in zip(run[:-1], run[1:], strict=True):
            if self.next[token] != following or not 0 < later - time < GAP_US:
                return None
        return run

    def windows(self, scene: str, cameras: tuple[str, ...], length: int) -> list[list[list[str]]]:
        """Every start of the first camera that gives a run of all cameras; of each other camera the run is taken whose
        furthest frame is nearest."""
        found = []
        lead = self.frames.get((scene, cameras[0]), [])
        for start in range(len(lead)):
            runs = [self.run(lead, start, length)]
            for camera in cameras[1:]:
                runs.append(runs[0] and self.partner(self.frames.get((scene, camera), []), runs[0]))
            if all(runs):
                found.append([[token for _, token in run] for run in runs])
        return found

    def partner(self, theirs: list[tuple[int, str]], lead: list[tuple[int, str]]) -> list[tuple[int, str]] | None:
        best, least = None, IN_STEP_US
        for start in range(len(theirs)):
            run = self.run(theirs, start, len(lead))
            if run is None:
                continue
            apart = max(abs(a[0] - b[0]) for a, b in zip(run, lead, strict=True))
            if apart < least:
                best, least = run, apart
        return best


@pytest.mark.parametrize("length", [2, 4, 9, 34])
@pytest.mark.parametrize("cameras", [("CAM_FRONT",), ("CAM_BACK",), ("CAM_BACK", "CAM_FRONT"), RING], ids="-".join)
def test_the_runs_are_those_of_a_slow_reading(mini: Path, cameras: tuple[str, ...], length: int) -> None:
    slow, tables = Slow(mini / "v1.0-mini"), open_index(mini, "v1.0-mini")
    expected = [window for scene in tables.scene_names for window in slow.windows(scene, cameras, length)]
    arguments = {"cameras": cameras, "observed_frames": length - 1, "future_frames": 1, "stride": 1}
    if not expected:
        with pytest.raises(InputError, match=f"no {length} frames in a row.* misses [0-9]+ frames? behind frame"):
            chunk_pairs(tables, **arguments)
        return
    pairs = chunk_pairs(tables, **arguments)
    found = [[[tables.token("sample_data", row) for row in run] for run in pair] for pair in pairs.frame_rows()]
    assert found == expected and pairs.frame_rate == 12.0


def test_a_drive_begins_where_it_can_and_says_why(mini: Path) -> None:
    drive = open_source(mini, scene="scene-0103", cameras=("CAM_FRONT",))
    pair = drive.chunk(3.0, 17, 51, (32, 48))
    assert pair.frame_rate == 12.0 and pair.observed_NFCHW.shape == (1, 17, 3, 32, 48)
    steps_s = np.diff(pair.times_s[0])
    assert steps_s.min() < 0.06 and 0.09 < steps_s.max() < 0.11
    assert pair.notes[0].startswith("start=3: begins at 4.35 s; CAM_FRONT misses 1 frame behind frame 45 (4.15 s)")
    assert drive.chunk(4.35, 17, 17, (32, 48)).notes == ()
    longest = drive.chunk(4.35, 17, 68, (32, 48))
    assert longest.future_NGCHW.shape[1] == 59
    assert longest.notes == ("59 of 68 future frames: CAM_FRONT misses 1 frame behind frame 121 (10.60 s)",)


def test_a_rig_that_loses_frames_is_refused_by_camera_and_frame(mini: Path) -> None:
    drive = open_source(mini, scene="scene-0103", cameras=("CAM_FRONT", "CAM_BACK"))
    with pytest.raises(InputError, match=r"no 17 frames in a row of all cameras, at most \d+: CAM_BACK misses 1 frame"):
        drive.chunk(0.0, 17, 17, (32, 48))


def test_lyft_is_refused_by_its_first_record_that_leads_nowhere(tmp_path: Path) -> None:
    """The excerpt has one sample of a scene of 126."""
    root = copy_of("lyft", tmp_path) / "tests/data/lyft/v1.01-train"
    with pytest.raises(
        InputError, match=r"scene\.json, record 0 \(token 9d0166ccd4.{54}\): first_sample_token .*skip_bad"
    ):
        open_index(root, "v1.01-train")
    for place in (root, root.parent, root / "v1.01-train"):  # nested, from its own parent, tables right in the root
        tables = open_index(place, "v1.01-train", skip_bad=True)
        assert tables.token("sample_data", 0) == "ff8dc9f62a36f159eb30e9c62eae7bdf4726cf9c91587ceb0314400e74e89438"
        assert tables.row("sample_data", tables.token("sample_data", 7)) == 7
        assert tables.column("sample_data", "timestamp")[0] == 1556675185850000
        with pytest.raises(InputError, match="no camera has two frames in a row"):
            chunk_pairs(tables)


def test_t4_is_read(tmp_path: Path) -> None:
    root = copy_of("t4", tmp_path) / "tests/sample/t4dataset"
    for place, version in ((root, None), (root, "annotation"), (root / "annotation", None)):
        tables = open_index(place, version)
        pair = chunk_pairs(tables, observed_frames=2, future_frames=1, size=(60, 80))[0]
        assert pair.cameras == ("CAM_FRONT", "CAM_BACK") and pair.frame_rate == 1.0
        assert pair.observed_NFCHW.shape == (2, 2, 3, 60, 80) and pair.intrinsics[0, 0, 2] == 40
        assert pair.ego_poses[0, 2, 0, 3] == 20.0
    with pytest.raises(InputError, match="CAM_FRONT has 3 frames, 34 needed"):
        chunk_pairs(tables)
