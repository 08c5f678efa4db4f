"""Edges of the rules: chains that end early, dropped sweeps, cameras of different length, too few starts."""

import json
import random
from pathlib import Path

import pytest
from even_times import STEP_US, fire_evenly
from nuscenes_small import START_US, VERSION, edit_table, token, write_dataset

from worldmodel.benchmarks.clips import ClipList, ClipsConfig, clip_list
from worldmodel.benchmarks.clips.actions import command
from worldmodel.benchmarks.clips.flowframes_val import drawn
from worldmodel.benchmarks.clips.flowframes_val_1 import five_of, spread
from worldmodel.errors import InputError

SCENE = "scene-0003"


def built(name: str, root: Path, **settings: object) -> ClipList:
    return clip_list(ClipsConfig(list=name, root=str(root), version=VERSION, **settings))


def starts(chosen: ClipList, camera: str = "CAM_FRONT") -> list[int]:
    """Numbers of the first frames in the camera's chain as it was written."""
    places = {token(SCENE, camera, number): number for number in range(300)}
    return [places[clip.lead.start_token] for clip in chosen.clips if clip.lead.camera == camera]


def drop(root: Path, camera: str, *numbers: int) -> None:
    """The camera lost these sweeps: their records are gone, their neighbours are linked to each other."""

    def change(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        for number in numbers:
            gone = of.pop(token(SCENE, camera, number))
            for here, there in (("prev", "next"), ("next", "prev")):
                if gone[here]:
                    of[gone[here]][there] = gone[there]
        records[:] = list(of.values())

    edit_table(root, "sample_data", change)


def test_vista_starts_at_every_key_frame_with_25_frames(own_val: Path) -> None:
    assert starts(built("vista-val", own_val)) == [0, 6, 12, 18, 24, 30, 36, 42]  # 70 frames: 0 to 45 would do


def test_vista_takes_starts_over_a_missing_sweep(own_val: Path) -> None:
    drop(own_val, "CAM_FRONT", 33, 34, 40)
    chosen = built("vista-val", own_val)
    assert starts(chosen) == [0, 6, 12, 18, 24, 30, 36, 42]
    assert chosen.notes[-1] == "12 key frames: 4 have fewer than 24 frames behind them"


def test_vista_1_refuses_starts_whose_key_frames_are_out_of_step(own_val: Path) -> None:
    drop(own_val, "CAM_FRONT", 33)
    chosen = built("vista-val@1", own_val)
    assert starts(chosen) == [0, 6, 36, 42], "30 would have its key frame at 5, 12 at 23"
    assert "4 are not followed by a key frame every 6 frames" in " ".join(chosen.notes)


def test_vista_takes_a_missing_sweep_behind_the_last_key_frame(own_val: Path) -> None:
    drop(own_val, "CAM_FRONT", 68)
    assert starts(built("vista-val", own_val)) == [0, 6, 12, 18, 24, 30, 36, 42]


def test_vista_takes_no_clip_over_a_broken_chain(own_val: Path) -> None:
    def cut(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        of[token(SCENE, "CAM_FRONT", 40)]["next"] = of[token(SCENE, "CAM_FRONT", 41)]["prev"] = ""

    edit_table(own_val, "sample_data", cut)
    assert starts(built("vista-val", own_val)) == [0, 6, 12, 42]
    assert starts(built("flowframes-val", own_val), "CAM_FRONT") == [1], "40 frames hold 33 sweeps, 41 hold 34"
    fire_evenly(own_val)
    assert starts(built("flowframes-val@1", own_val), "CAM_FRONT") in ([0, 2, 3, 5, 7], [0, 2, 4, 5, 7])


@pytest.mark.parametrize(("frames", "number"), [(25, 1), (30, 1), (31, 2)])
def test_vista_of_a_short_scene(tmp_path: Path, frames: int, number: int) -> None:
    root = write_dataset(tmp_path / "short", scenes=(SCENE,), frames=frames)
    chosen = built("vista-val", root)
    assert len(chosen) == number
    assert "only 1 of the 150 val scenes" in chosen.notes[0]


def test_vista_without_any_clip(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "short", scenes=(SCENE,), frames=24)
    with pytest.raises(InputError, match="no clip in .*: 4 key frames: 4 have fewer than 24 frames behind them"):
        built("vista-val", root)


def test_vista_leaves_out_scenes_of_train(small_val: Path) -> None:
    chosen = built("vista-val", small_val)
    assert {clip.scene for clip in chosen.clips} == {"scene-0003", "scene-0012"} and len(chosen) == 16
    tokens = [token(clip.scene) for clip in chosen.clips]
    assert tokens == sorted(tokens), "sorted by scene token"


def test_flowframes_takes_sweeps_from_the_first_key_frame_on(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "long", scenes=(SCENE,), frames=100)

    def later(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        for camera in ("CAM_FRONT", "CAM_BACK", "CAM_FRONT_LEFT"):
            of[token(SCENE, camera, 0)]["is_key_frame"] = False

    edit_table(root, "sample_data", later)
    chosen = built("flowframes-val", root)
    sweeps = [number for number in range(7, 100) if number % 6]
    assert starts(chosen) == starts(chosen, "CAM_BACK") == [sweeps[0], sweeps[34]], "78 sweeps, 10 are dropped"
    drop(root, "CAM_FRONT", 20, 21, 22)
    sweeps = [number for number in sweeps if number not in (20, 21, 22)]
    assert starts(built("flowframes-val", root)) == [sweeps[0], sweeps[34]], "a hole is no reason to begin anew"


def test_flowframes_without_some_cameras(own_val: Path) -> None:
    drop(own_val, "CAM_FRONT_LEFT", *range(70))
    edit_table(
        own_val, "sensor", lambda records: [one.update(channel="OWN") for one in records if "BACK" in one["channel"]]
    )
    chosen = built("flowframes-val", own_val)
    assert [clip.lead.camera for clip in chosen.clips] == ["CAM_FRONT"] and chosen.expected == 2000
    assert chosen.notes[1:] == (
        "CAM_FRONT: 1 clips of 1 scenes", "CAM_BACK: 0 clips of 0 scenes", "CAM_FRONT_LEFT: 0 clips of 0 scenes",
        "1 clips in all, 1 kept",
    )  # fmt: skip


def test_the_draw_keeps_the_order_of_few_and_draws_of_many() -> None:
    assert drawn(["a", "b", "c"], 4) == ["a", "b", "c"]
    assert sorted(drawn(range(40), 7)) != drawn(range(40), 7) == drawn(range(40), 7)
    assert sorted(drawn(range(5), 5)) == [0, 1, 2, 3, 4]


def test_flowframes_1_of_cameras_of_different_length(own_val: Path) -> None:
    fire_evenly(own_val)
    drop(own_val, "CAM_BACK", *range(60, 70))
    drop(own_val, "CAM_FRONT_LEFT", *range(40, 70))
    chosen = built("flowframes-val@1", own_val)
    first, early, middle, late, last = starts(chosen, "CAM_FRONT")
    assert (first, middle, last) == (0, 18, 36) and early in (6, 12) and late in (24, 30), "70 frames hold two apart"
    assert starts(chosen, "CAM_BACK") == [0, 6, 12, 18, 24]
    of_left = starts(chosen, "CAM_FRONT_LEFT")
    assert len(of_left) == 5 and of_left[::4] == [0, 6], "0 and 6 alone are key frames"
    assert "2 overlapping" in chosen.notes[1] and "1 at any frame" in chosen.notes[1]
    assert [clip.lead.camera for clip in chosen.clips] == ["CAM_FRONT"] * 5 + ["CAM_BACK"] * 5 + ["CAM_FRONT_LEFT"] * 5


def test_flowframes_1_takes_no_clip_over_a_gap(tmp_path: Path) -> None:
    root = fire_evenly(write_dataset(tmp_path / "long", scenes=(SCENE,), frames=241))
    even = starts(built("flowframes-val@1", root))
    assert even[::2] == [0, 102, 204] and even[1] in (48, 54) and even[3] in (150, 156)
    drop(root, "CAM_FRONT", 110)
    chosen = built("flowframes-val@1", root)
    assert starts(chosen)[2] == 114 and starts(chosen, "CAM_BACK")[2] == 102
    drop(root, "CAM_FRONT", 111, 70)
    chosen = built("flowframes-val@1", root)
    assert all(not start <= hole < start + 34 for start in starts(chosen) for hole in (70, 110, 111))
    assert "CAM_FRONT 2, CAM_BACK 0" in chosen.notes[2]


def test_flowframes_1_takes_no_clip_over_an_uneven_step(tmp_path: Path) -> None:
    root = fire_evenly(write_dataset(tmp_path / "uneven", scenes=(SCENE,), frames=76))

    def late(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        of[token(SCENE, "CAM_FRONT", 36)]["timestamp"] = START_US + 36 * STEP_US + STEP_US // 2

    edit_table(root, "sample_data", late)
    chosen = starts(built("flowframes-val@1", root))
    assert len(chosen) == 5 and set(chosen) <= {0, 1, 2, *range(37, 43)}


def test_flowframes_1_with_fewer_than_five_starts(tmp_path: Path) -> None:
    root = fire_evenly(write_dataset(tmp_path / "short", scenes=(SCENE,), frames=36))
    chosen = built("flowframes-val@1", root)
    assert starts(chosen) == [0, 1, 2] and len(chosen) == 9 and "3 fewer" in chosen.notes[1]
    with pytest.raises(
        InputError, match="no 34 frames .* in a row in .*; real cameras fire 50 and 100 ms apart, use flowframes-val@2"
    ):
        built("flowframes-val@1", write_dataset(tmp_path / "shorter", scenes=(SCENE,), frames=33))


def test_flowframes_of_another_length(small_val: Path) -> None:
    chosen = built("flowframes-val", small_val, frames=51)
    assert chosen.frames == 51 and {len(clip.lead.frames) for clip in chosen.clips} == {51}
    assert chosen.expected == 150 * 3 * 3, "of 184 sweeps three times 51"
    with pytest.raises(InputError, match="more than the 17 observed"):
        built("flowframes-val", small_val, frames=17)


def test_five_of_goes_from_strict_to_lenient() -> None:
    def way(places: list[int], keys: list[int]) -> tuple[str, list[int]]:
        return five_of(places, [place in keys for place in places], [83_333 * place for place in places], 34)

    every = list(range(0, 200))
    assert way(every, every[::6]) == ("apart", [0, 48, 96, 150, 198])
    assert way(list(range(0, 30)), [0, 6, 12, 18, 24]) == ("overlapping", [0, 6, 12, 18, 24])
    assert way(list(range(0, 9)), [0, 6]) == ("at any frame", [0, 2, 4, 6, 8])
    assert way([3, 4, 5, 6], [6]) == ("fewer", [3, 4, 5, 6])
    assert way([], []) == ("fewer", [])


def test_spread_is_exact_where_floats_would_tie() -> None:
    assert spread([0, 1, 2], [0, 1, 2], 2, 1) == [0, 2]
    assert spread([0, 1, 2, 3], [0, 10, 20, 30], 3, 1) == [0, 1, 3], "of equal choices the earliest"
    huge = 10**15
    assert spread([0, 1, 2, 3, 4], [huge, huge + 5, huge + 11, huge + 13, huge + 20], 3, 1) == [0, 2, 4]
    assert spread([0, 1, 2], [0, 1, 2], 3, 2) == [], "so many do not fit"


def test_commands() -> None:
    assert [command(-2.0, 9), command(2.0, 9), command(-1.9, 2.0), command(1.9, 2.1)] == [0, 1, 2, 3]
    assert command(0.0, -3.0) == 2, "backing is no driving ahead"


def test_a_start_near_the_scenes_end_has_no_actions(own_val: Path) -> None:
    def unkey(records: list[dict]) -> None:
        for record in records:
            if "LIDAR_TOP" in record["filename"] and record["sample_token"] == token(SCENE, "sample", 48):
                record["is_key_frame"] = False

    assert all(clip.actions for clip in built("vista-val", own_val).clips)
    edit_table(own_val, "sample_data", unkey)
    without = [clip.actions is None for clip in built("vista-val", own_val).clips]
    assert without == [False] * 4 + [True] * 4, "the key frame at 48 is part of the two seconds from 24 on"


def test_order_of_records_and_keys_does_not_matter(own_val: Path, tmp_path: Path) -> None:
    before = {name: built(name, own_val) for name in ("vista-val", "flowframes-val")}
    shuffled = random.Random(0)
    for path in (own_val / VERSION).glob("*.json"):
        records = json.loads(path.read_text())
        shuffled.shuffle(records)
        path.write_text(json.dumps([dict(shuffled.sample(list(r.items()), len(r))) for r in records], indent=3))
    moved = own_val.rename(tmp_path / "elsewhere")
    for name, chosen in before.items():
        again = built(name, moved)
        assert again.sha256 == chosen.sha256 and again.clips == chosen.clips


def test_other_frames_give_another_hash(own_val: Path) -> None:
    chosen = built("vista-val", own_val)
    drop(own_val, "CAM_FRONT", 69)  # in no clip
    assert built("vista-val", own_val).sha256 == chosen.sha256
    drop(own_val, "CAM_FRONT", 33)
    assert built("vista-val", own_val).sha256 != chosen.sha256
    assert built("flowframes-val", own_val).sha256 != chosen.sha256


def test_a_frame_that_stands_twice_in_the_tables_is_refused(own_val: Path) -> None:
    def twice(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        of[token(SCENE, "CAM_FRONT", 8)]["filename"] = of[token(SCENE, "CAM_FRONT", 7)]["filename"]

    edit_table(own_val, "sample_data", twice)
    with pytest.raises(InputError, match="is there twice"):
        built("vista-val", own_val)


def test_settings_without_sense(small_val: Path) -> None:
    with pytest.raises(InputError, match="clips of vista-val have 25; leave frames out"):
        built("vista-val", small_val, frames=34)
    with pytest.raises(InputError, match="at least 2"):
        ClipsConfig(frames=1)
    with pytest.raises(InputError, match="no such list; choose one of vista-val@1"):
        built("vista-val@3", small_val)


def test_tables_without_val_scenes(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "train", scenes=("scene-0061",))
    with pytest.raises(InputError, match="no scene of the val split"):
        built("vista-val", root)
