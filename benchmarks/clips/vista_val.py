"""`vista-val@2`: the clips that Vista's published evaluation runs over. Its card is vista_val.md."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.tables import ValScenes, clips_of, open_val
from worldmodel.datasets.nuscenes.chains import CameraChains, camera_chains
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.registry import ClipsConfig

CAMERA, FRAMES, KEY_EVERY = "CAM_FRONT", 25, 6
RULE = """nuScenes val, CAM_FRONT. Every key frame with 24 frames behind it in its sample_data.next chain begins a clip:
it and those 24, whatever the steps between them. Clips overlap. Sorted by scene token, then time."""
RULE_1 = """nuScenes val, CAM_FRONT. Every key frame begins a clip: it and the 24 frames that follow by
sample_data.next. Left out where the chain ends before, or where frame 6, 12, 18 or 24 is no key frame. Clips overlap.
Sorted by scene token, then time."""


def build(config: "ClipsConfig") -> ClipList:
    """The list of one nuScenes root.

    Raises:
        InputError: `frames` other than 25, no val scene, no CAM_FRONT, or no clip at all.
    """
    return _build(config, 2, RULE)


def build_1(config: "ClipsConfig") -> ClipList:
    """Version 1, which has half the clips on real tables: there, key frames lie 3 to 8 frames apart."""
    return _build(config, 1, RULE_1)


def _build(config: "ClipsConfig", version: int, rule: str) -> ClipList:
    if config.frames not in (None, FRAMES):
        raise InputError(f"frames={config.frames}: clips of vista-val have {FRAMES}; leave frames out")
    val = open_val(config.root, config.version or "v1.0-trainval")
    chains = camera_chains(val.index, (CAMERA,))
    starts, notes = _starts(val, chains, even_keys=version == 1)
    if not len(starts):
        raise InputError(f"vista-val: no clip in {val.index.root}: {notes[0]}; give a version with whole scenes")
    rows = chains.rows_S[starts[:, None] + np.arange(FRAMES)]
    return ClipList(
        name="vista-val",
        version=version,
        rule=" ".join(rule.split()),
        expected=5369,
        frames=FRAMES,
        observed_frames=1,
        frame_rate=NOMINAL_RATE,
        tables=val.index.version,
        clips=tuple(clips_of(val.index, (CAMERA,), rows[:, None])),
        notes=val.notes + notes,
    )


def _starts(val: ValScenes, chains: CameraChains, even_keys: bool) -> tuple[Int64[np.ndarray, "P"], tuple[str, ...]]:
    """First positions in `chains.rows_S` in the list's order, and what was left out.

    Args:
        even_keys: every sixth frame of a clip must be a key frame, as version 1 had it.
    """
    index, names = val.index, val.index.scene_names
    in_val = np.isin(chains.scenes, [row for row, name in enumerate(names) if name in set(val.names)])
    lengths = np.diff(chains.starts)
    key = index.column("sample_data", "is_key_frame")[chains.rows_S] == 1
    begins = np.flatnonzero(key & np.repeat(in_val, lengths))
    ends = np.repeat(chains.starts[1:], lengths)[begins]
    starts = begins[begins + FRAMES <= ends]
    note = f"{len(begins)} key frames: {len(begins) - len(starts)} have fewer than {FRAMES - 1} frames behind them"
    if even_keys:
        before, starts = len(starts), starts[key[starts[:, None] + np.arange(0, FRAMES, KEY_EVERY)].all(axis=1)]
        note += f", {before - len(starts)} are not followed by a key frame every {KEY_EVERY} frames"
    return starts[_by_scene_token(val, chains, starts)], (note,)


def _by_scene_token(val: ValScenes, chains: CameraChains, starts: np.ndarray) -> list[int]:
    """The order of `starts`: by scene token, then time."""
    index = val.index
    scenes = index.column("sample", "scene_token")[index.column("sample_data", "sample_token")[chains.rows_S[starts]]]
    tokens = [index.token("scene", row) for row in scenes.tolist()]
    places = list(zip(tokens, chains.times_S[starts].tolist(), strict=True))
    return sorted(range(len(starts)), key=places.__getitem__)
