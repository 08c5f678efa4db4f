"""`toyworld-val`: the held-out drives of the toy world, six cameras at once. Its card is toyworld_val.md."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.tables import ValScenes, clips_of, open_val
from worldmodel.datasets.nuscenes.chains import RING
from worldmodel.datasets.nuscenes.tracks import scene_tracks
from worldmodel.datasets.timing import LIDAR_TURN_S, NOMINAL_RATE, is_gap
from worldmodel.datasets.toyworld.firing import Firing, scene_firing
from worldmodel.datasets.toyworld.recipe import GENERATOR, read_recipe
from worldmodel.datasets.toyworld.rig import RIG
from worldmodel.datasets.windows import WindowRule, windows
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.registry import ClipsConfig

FRAMES, EVERY = 34, 17
CAMERAS = ("CAM_FRONT", *(camera for camera in RING if camera != "CAM_FRONT"))  # CAM_FRONT leads
RULE = """Toy world, val split, all six cameras. A clip is 34 frames (17 more for every further chunk of a rollout) of
CAM_FRONT from one of its key frames on, no frame of any camera missing in between, the next begun 17 frames or more
after the last; the other cameras' frames are those nearest in time, within half a frame time (42 ms) of CAM_FRONT's.
Sorted by scene name, then time."""
IN_STEP_S = 0.5 / NOMINAL_RATE


def build(config: "ClipsConfig") -> ClipList:
    """The list of one toy world; the recipe it was drawn by is part of the hash, as file names do not tell it.

    Raises:
        InputError: no toy world at `root` or one of an earlier generator, `frames` is not 17 times two or more, or no
            clip at all.
    """
    root, frames = Path(config.root), config.frames or FRAMES
    if frames < FRAMES or frames % 17:
        raise InputError(f"frames={frames}: a clip is 34 frames, or 17 more for every further chunk: 51, 68, ...")
    recipe = read_recipe(root)
    if recipe is None:
        raise InputError(f"{root}: no toy world; draw one with worldmodel data toyworld root={root}")
    if recipe.get("generator") != GENERATOR:
        raise InputError(
            f"{root}: a toy world by another version of this package; draw it again with worldmodel data toyworld"
            f" root={root} overwrite=true"
        )
    val = open_val(root, config.version or str(recipe["version"]))
    rows = _rows(val, frames)
    return ClipList(
        name="toyworld-val",
        version=2,
        rule=" ".join(RULE.split()),
        expected=expected(recipe, frames),
        frames=frames,
        observed_frames=17,
        frame_rate=NOMINAL_RATE,
        tables=val.index.version,
        clips=tuple(clips_of(val.index, RING, rows)),
        source=recipe,
        notes=val.notes,
    )


def expected(recipe: dict[str, Any], frames: int) -> int:
    """Clips of a toy world drawn by this recipe, counted where its cameras fire: 11 of the default one."""
    drives = [scene_firing(recipe["seed"], "val", n, recipe["seconds"]) for n in range(recipe["val_scenes"])]
    return sum(_fired_clips(drive, frames) for drive in drives)


def _fired_clips(drive: Firing, frames: int) -> int:
    lead = [camera.channel for camera in RIG].index(CAMERAS[0])
    turns = np.array(drive.turns(lead))
    count, next_from = 0, 0
    for place in np.flatnonzero(np.isin(turns, drive.samples_S)).tolist():
        window = turns[place : place + frames]
        taken = drive.taken_TN[window[0] : window[-1] + 1].sum(axis=0)
        complete = not is_gap(np.diff(window) * LIDAR_TURN_S, NOMINAL_RATE).any() and (taken == frames).all()
        if complete and place >= next_from:
            count, next_from = count + 1, place + EVERY
    return count


def _rows(val: ValScenes, frames: int) -> np.ndarray:
    """Rows of `sample_data` [clips, six cameras round the vehicle, frames]."""
    index, rule = val.index, WindowRule(frames, 1, NOMINAL_RATE)
    key = index.column("sample_data", "is_key_frame")
    rows: list[np.ndarray] = []
    for name in val.names:
        tracks, next_from = scene_tracks(index, name, CAMERAS), 0
        for start_N in windows(tracks, rule).starts_WN:
            rows_NL = np.stack([t.rows_K[at : at + frames] for t, at in zip(tracks, start_N.tolist(), strict=True)])
            times_NL = np.stack([t.times_s[at : at + frames] for t, at in zip(tracks, start_N.tolist(), strict=True)])
            in_step = np.abs(times_NL - times_NL[0]).max() < IN_STEP_S
            if in_step and key[rows_NL[0, 0]] == 1 and start_N[0] >= next_from:
                rows.append(rows_NL)
                next_from = start_N[0] + EVERY
    if not rows:
        raise InputError(f"{index.root}: no val scene holds {frames} frames; draw it with more seconds")
    return np.stack(rows)[:, [CAMERAS.index(camera) for camera in RING]]
