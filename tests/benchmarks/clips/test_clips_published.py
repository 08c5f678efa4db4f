"""The lists against what is published: counts on the real structure of nuScenes val, and the published code's own draw.

The tables are real in which frames there are and which are key frames (`nuscenes_tables` of the test data).
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from worldmodel.benchmarks.clips import ClipList, ClipsConfig, clip_list
from worldmodel.benchmarks.clips.flowframes_val import SEED, drawn, windows
from worldmodel.errors import InputError


@pytest.fixture(scope="module")
def structure(footage_folder: Path) -> Path:
    """All 150 val scenes with CAM_FRONT alone."""
    folder = footage_folder / "nuscenes_tables" / "val_front_structure"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


@pytest.fixture(scope="module")
def published_draws(golden_folder: Path) -> list[dict]:
    """What the published code cut and drew."""
    found = [json.loads(path.read_text()) for path in sorted(golden_folder.glob("flowc2s_clips*.json"))]
    if not found:
        pytest.skip(f"{golden_folder} lists no flowc2s_clips")
    return found


def built(name: str, root: Path) -> ClipList:
    return clip_list(ClipsConfig(list=name, root=str(root)))


def test_vista_val_has_exactly_the_published_number(structure: Path) -> None:
    chosen = built("vista-val", structure)
    assert (chosen.label, len(chosen), chosen.expected) == ("vista-val@2", 5369, 5369)
    assert len({clip.scene for clip in chosen.clips}) == 150
    assert all(
        "/CAM_FRONT/" in clip.lead.frames[0] and clip.lead.frames[0].startswith("samples") for clip in chosen.clips
    )


def test_vista_val_1_had_half_of_them(structure: Path) -> None:
    assert len(built("vista-val@1", structure)) == 2667


def test_flowframes_val_has_five_a_scene(structure: Path) -> None:
    chosen = built("flowframes-val", structure)
    assert (chosen.label, len(chosen), chosen.frames) == ("flowframes-val@2", 750, 34)
    scenes = Counter(clip.scene for clip in chosen.clips)
    assert len(scenes) == 150 and set(scenes.values()) == {5}
    assert not any(frame.startswith("samples/") for clip in chosen.clips for frame in clip.lead.frames)


def test_flowframes_val_is_cut_from_the_start_of_each_scene(structure: Path) -> None:
    """Window by window, from the raw records."""
    tables = {
        name: json.loads((structure / "v1.0-trainval" / f"{name}.json").read_text()) for name in ("scene", "sample")
    }
    data = json.loads((structure / "v1.0-trainval" / "sample_data.json").read_text())
    of, key_of = {one["token"]: one for one in data}, {one["sample_token"]: one for one in data if one["is_key_frame"]}
    expected = []
    for scene in tables["scene"]:
        frame, sweeps = key_of[scene["first_sample_token"]], []
        while frame:
            sweeps += [] if frame["is_key_frame"] else [frame["filename"]]
            frame = of.get(frame["next"])
        sweeps.sort()
        expected += [(scene["name"], tuple(sweeps[34 * n : 34 * n + 34])) for n in range(len(sweeps) // 34)]
    chosen = built("flowframes-val", structure)
    assert [(clip.scene, clip.lead.frames) for clip in chosen.clips] == expected


def test_flowframes_val_1_finds_nothing_on_real_tables(structure: Path) -> None:
    with pytest.raises(InputError, match="use flowframes-val@2"):
        built("flowframes-val@1", structure)


def test_windows_and_draw_are_those_of_the_published_code(published_draws: list[dict]) -> None:
    for said in published_draws:
        assert said["seed"] == SEED
        small, every = said["small"], list[tuple[str, str]]()
        for number, (scene, frames) in enumerate(small["scenes"].items()):
            cut = windows(np.arange(frames, dtype=np.int32), small["chunk_size"])
            every += [(f"{scene}_chunk_{n}", f"{number}/{window[0]:03d}.jpg") for n, window in enumerate(cut)]
        kept = drawn(every, small["sample_n"])
        assert [key for key, _ in kept] == small["keys"]
        assert [first for _, first in kept] == small["first_frames"]


def test_the_draw_of_2000_is_that_of_the_published_code(published_draws: list[dict]) -> None:
    for said in published_draws:
        cut = [windows(np.arange(199, dtype=np.int32), 34) for _ in range(450)]
        population = list(range(sum(len(each) for each in cut)))
        assert len(population) == said["of_2250"]["population"] == 2250
        assert drawn(population, said["of_2250"]["sample_n"]) == said["of_2250"]["indices"]
