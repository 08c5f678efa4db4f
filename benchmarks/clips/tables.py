"""From rows of nuScenes-format tables to the views and clips of a list.

Legend: P clips, L frames of a clip.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from worldmodel.benchmarks.clips.actions import actions_of
from worldmodel.benchmarks.clips.clip_list import Clip, ClipList, View
from worldmodel.datasets.nuscenes import NuScenesIndex, open_index, scenes_of_split
from worldmodel.datasets.nuscenes.tokens import token_key
from worldmodel.errors import InputError


@dataclass(frozen=True)
class ValScenes:
    """The val split as far as some tables have it.

    Attributes:
        index: of the tables. names: its scenes, sorted by name. absent: how many more the split has.
    """

    index: NuScenesIndex
    names: tuple[str, ...]
    absent: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know before comparing counts."""
        if not self.absent:
            return ()
        all_scenes = len(self.names) + self.absent
        return (f"only {len(self.names)} of the {all_scenes} val scenes are in {self.index.version}",)


def open_val(root: str | Path, version: str) -> ValScenes:
    """Open the tables and look up the val split; raises InputError where none of its scenes is there."""
    index = open_index(root, version)
    wanted = scenes_of_split(index.root, index.version, "val")
    names = tuple(sorted(set(wanted) & set(index.scene_names)))
    if not names:
        raise InputError(f"{index.root / version}: no scene of the val split; give a version that holds it")
    return ValScenes(index, names, len(wanted) - len(names))


def clips_of(index: NuScenesIndex, cameras: tuple[str, ...], rows_PNL: Int32[np.ndarray, "P N L"]) -> list[Clip]:
    """Clips from rows of `sample_data`, N cameras each; actions from the view that leads."""
    scenes, names = index.column("sample", "scene_token"), index.scene_names
    scene_P = scenes[index.column("sample_data", "sample_token")[rows_PNL[:, 0, 0]]]
    views = zip(*(_views(index, camera, rows_PNL[:, n]) for n, camera in enumerate(cameras)), strict=True)
    clips = [Clip(names[scene], tuple(of_clip)) for scene, of_clip in zip(scene_P.tolist(), views, strict=True)]
    lead = cameras.index("CAM_FRONT") if "CAM_FRONT" in cameras else 0
    actions = actions_of(index, cameras[lead], rows_PNL[:, lead, 0])
    return [replace(clip, actions=action) for clip, action in zip(clips, actions, strict=True)]


def _views(index: NuScenesIndex, camera: str, rows_PL: np.ndarray) -> Iterable[View]:
    times_PL = index.column("sample_data", "timestamp")[rows_PL]
    times_us = [tuple(times) for times in times_PL.tolist()]
    for row, times, names in zip(rows_PL[:, 0].tolist(), times_us, file_names(index, rows_PL), strict=True):
        yield View(camera, tuple(names), index.token("sample_data", row), times)


def file_names(index: NuScenesIndex, rows_PL: np.ndarray) -> list[list[str]]:
    """Picture file of every row, relative to the root; a row that several clips share is looked up once."""
    names = {row: index.text("sample_data", "filename", row) for row in np.unique(rows_PL).tolist()}
    return [[names[row] for row in clip] for clip in rows_PL.tolist()]


def rows_of_tokens(index: NuScenesIndex, tokens: list[str]) -> Int32[np.ndarray, "P"]:
    """Rows of `sample_data`, all looked up in one pass; raises InputError naming the first token it lacks."""
    column = index.column("sample_data", "token")
    wanted = [token_key(token) for token in tokens]
    heads = np.frombuffer(b"".join(wanted), dtype=np.uint8).reshape(-1, 16)
    near = np.flatnonzero(np.isin(_first_half(column), _first_half(heads)))
    row_of = {column[row].tobytes(): row for row in near.tolist()}
    missing = [token for token, key in zip(tokens, wanted, strict=True) if key not in row_of]
    if missing:
        raise InputError(
            f"{index.root / index.version}: {len(missing)} of {len(tokens)} clips begin with a sample_data that is not"
            f" there, such as {missing[0]}; give the tables that the list was built from"
        )
    return np.array([row_of[key] for key in wanted], dtype=np.int32)


def _first_half(tokens: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(tokens[:, :8]).view(np.uint64)[:, 0]


def clip_rows(index: NuScenesIndex, chosen: ClipList, camera: str, views: list[View]) -> Int32[np.ndarray, "P L"]:
    """Rows of the frames of listed views, walked from their first one; frames between listed ones are passed over.

    Raises:
        InputError: these tables have other frames there.
    """
    rows_PL = np.empty((len(views), chosen.frames), dtype=np.int32)
    rows_PL[:, 0] = rows_of_tokens(index, [view.start_token for view in views])
    for place in range(1, chosen.frames):
        times_P = np.array([view.timestamps_us[place] if view.timestamps_us else 0 for view in views])
        rows_PL[:, place] = _next_at(index, rows_PL[:, place - 1], times_P)
    for view, rows, names in zip(views, rows_PL, file_names(index, rows_PL.clip(0)), strict=True):
        if rows.min() < 0 or tuple(names) != view.frames:
            raise InputError(
                f"{index.root / index.version}: {camera}, the clip from {view.frames[0]} on has other frames than"
                f" {chosen.label} says; give the tables that the list was built from"
            )
    return rows_PL


def _next_at(index: NuScenesIndex, rows_P: Int32[np.ndarray, "P"], times_P: np.ndarray) -> Int32[np.ndarray, "P"]:
    """Of each row the first one behind it whose time is not before the given one; -1 where its chain ends before."""
    following, time = (index.column("sample_data", name) for name in ("next", "timestamp"))
    after_P = np.where(rows_P < 0, -1, following[rows_P])
    while (early := (after_P >= 0) & (time[after_P] < times_P)).any():
        then = following[after_P[early]]
        rises = time[then] > time[after_P[early]]  # a chain that turns in a circle does not
        after_P[early] = np.where((then >= 0) & rises, then, -1)
    return after_P
