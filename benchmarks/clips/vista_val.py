"""`vista-val@1`: the clips that Vista's published evaluation runs over. Its card is vista_val.md."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.tables import FRAME_RATE, ValScenes, clips_of, open_val
from worldmodel.datasets.nuscenes.chains import CameraChains, camera_chains
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.verb import ClipsConfig

CAMERA, FRAMES, KEY_EVERY = "CAM_FRONT", 25, 6
RULE = """nuScenes val, CAM_FRONT. Every key frame begins a clip: it and the 24 frames that follow by sample_data.next.
Left out where the chain ends before, or where frame 6, 12, 18 or 24 is no key frame. Clips overlap. Sorted by scene
token, then time."""


def build(config: "ClipsConfig") -> ClipList:
    """The list of one nuScenes root.

    Raises:
        InputError: `frames` other than 25, no val scene, no CAM_FRONT, or no clip at all.
    """
    if config.frames not in (None, FRAMES):
        raise InputError(f"frames={config.frames}: vista-val has {FRAMES}; leave frames out")
    val = open_val(config.root, config.version or "v1.0-trainval")
    chains = camera_chains(val.index, (CAMERA,))
    starts, notes = _starts(val, chains)
    if not len(starts):
        raise InputError(f"vista-val: no clip in {val.index.root}: {notes[0]}; give a version with whole scenes")
    rows = chains.rows_S[starts[:, None] + np.arange(FRAMES)]
    return ClipList(
        name="vista-val",
        version=1,
        rule=" ".join(RULE.split()),
        expected=5369,
        frames=FRAMES,
        observed_frames=1,
        frame_rate=FRAME_RATE,
        tables=val.index.version,
        clips=tuple(clips_of(val.index, (CAMERA,), rows[:, None])),
        notes=val.notes + notes,
    )


def _starts(val: ValScenes, chains: CameraChains) -> tuple[Int64[np.ndarray, "P"], tuple[str, ...]]:
    """First positions in `chains.rows_S` in the list's order, and what was left out."""
    index, names = val.index, val.index.scene_names
    in_val = np.isin(chains.scenes, [row for row, name in enumerate(names) if name in set(val.names)])
    lengths = np.diff(chains.starts)
    key = index.column("sample_data", "is_key_frame")[chains.rows_S] == 1
    begins = np.flatnonzero(key & np.repeat(in_val, lengths))
    ends = np.repeat(chains.starts[1:], lengths)[begins]
    whole = begins[begins + FRAMES <= ends]
    in_step = key[whole[:, None] + np.arange(0, FRAMES, KEY_EVERY)].all(axis=1)
    starts = whole[in_step]
    notes = (
        f"{len(begins)} key frames: {len(begins) - len(whole)} have fewer than {FRAMES - 1} frames behind them,"
        f" {len(whole) - len(starts)} are not followed by a key frame every {KEY_EVERY} frames",
    )
    rows = chains.rows_S[starts]
    scene = index.column("sample", "scene_token")[index.column("sample_data", "sample_token")[rows]]
    token = [index.token("scene", row) for row in scene.tolist()]
    order = sorted(range(len(starts)), key=list(zip(token, chains.times_S[starts].tolist(), strict=True)).__getitem__)
    return starts[order], notes
