"""One drive, whatever it is stored as: nuScenes tables, one video, a rig's videos, images.

Legend: N cameras, F observed frames, G future frames, C colours (3), H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from worldmodel.datasets.nuscenes import NuScenesIndex, NuScenesPairs, chunk_pairs, open_index
from worldmodel.datasets.nuscenes.chains import camera_chains
from worldmodel.datasets.nuscenes.locate import find_versions
from worldmodel.datasets.nuscenes.report import first_break
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.video_source import open_footage
from worldmodel.errors import InputError


@runtime_checkable
class Drive(Protocol):
    """What a prediction asks of its source."""

    @property
    def scene(self) -> str:
        """Name of the drive."""
        ...

    def chunk(
        self,
        start_s: float,
        observed_frames: int,
        future_frames: int,
        size: tuple[int, int],
        frame_rate: float | None,
        resample: str = "area",
    ) -> PixelPair:
        """The observed frames from `start_s` seconds after the first frame on, and as many future ones as there are.

        `resample`: how pictures come to size, see `worldmodel.datasets.images.read_image`.
        """
        ...


def open_drive(
    source: str | Path,
    version: str | None = None,
    scene: str | None = None,
    cameras: Sequence[str] = (),
    image_rate: float | None = None,
    video_reader: str = "pyav",
) -> Drive:
    """Open a nuScenes root (a folder with version folders in it), a video, a folder of videos or one of images.

    Args:
        version: which tables of a nuScenes root; may be left out where there is one version only.
        scene: name of a nuScenes scene; by default the first. Footage is one scene.
        cameras: which cameras in which order, all by default; for footage see `open_footage`.
        image_rate: frames per second of a folder of images.
        video_reader: what reads videos, pyav or decord.

    Raises:
        InputError: nothing usable there, an unknown version, scene or camera.
    """
    root = Path(source)
    versions = find_versions(root)
    if not versions and version is None:
        if scene is not None:
            raise InputError(f"scene={scene}: {root} holds no nuScenes tables, footage is one scene; leave scene out")
        return open_footage(root, cameras or None, image_rate, video_reader)
    if version is None and len(versions) > 1:
        raise InputError(f"{root}: has versions {', '.join(versions)}; choose one with version=")
    index = open_index(root, version)
    if not index.scene_names:
        raise InputError(f"{root / index.version}/scene.json: no scene in it; choose another version")
    return NuScenesDrive(index, scene or index.scene_names[0], tuple(cameras))


@dataclass(frozen=True)
class NuScenesDrive:
    """One scene of a nuScenes-format dataset. `cameras` empty: the ring of six, or all cameras of another rig."""

    index: NuScenesIndex
    scene: str
    cameras: tuple[str, ...] = ()

    def chunk(
        self,
        start_s: float,
        observed_frames: int,
        future_frames: int,
        size: tuple[int, int],
        frame_rate: float | None = None,
        resample: str = "area",
    ) -> PixelPair:
        """The first frames in a row, all cameras in step, at or after `start_s` seconds from the scene's first frame.

        Where the scene ends or a frame is missing soon after, fewer future frames are given, down to none. The pair's
        `notes` say which camera misses which frame where that moved the start or cut the future short.

        Raises:
            InputError: `frame_rate` differs from the sweeps', the scene is too short, a picture cannot be read.
        """
        observed = self._windows(observed_frames, size)
        own_rate = observed.frame_rate
        if frame_rate is not None and abs(frame_rate - own_rate) > 0.05 * own_rate:
            raise InputError(
                f"frame_rate={frame_rate}: {self.scene} has {own_rate:g} frames per second and nuScenes frames are"
                " not resampled; leave frame_rate out"
            )
        row, notes = self._start(observed, start_s)
        given = self._longest(observed_frames, future_frames, size, row)
        windows = self._windows(observed_frames + given, size, resample)
        run = windows[_first_rows(windows).index(row)]
        if given < future_frames:
            notes += _why_cut(windows, run, f"{given} of {future_frames} future frames")
        return _cut(replace(run, notes=notes), observed_frames)

    def _windows(self, frames: int, size: tuple[int, int], resample: str = "area") -> NuScenesPairs:
        """All runs of this many frames; the split into observed and future is made later, a future may be empty."""
        return chunk_pairs(
            self.index,
            scenes=[self.scene],
            cameras=self.cameras or None,
            observed_frames=frames - 1,
            future_frames=1,
            stride=1,
            size=size,
            resample=resample,
        )

    def _start(self, windows: NuScenesPairs, start_s: float) -> tuple[int, tuple[str, ...]]:
        """The `sample_data` row of the leading camera to begin at, and a note where that is later than asked for."""
        rows, times_us = np.array(_first_rows(windows)), self.index.column("sample_data", "timestamp")
        begin_us = int(times_us[self._lead_rows(windows.cameras)[0]])
        since_s = (times_us[rows] - begin_us) * 1e-6
        late = np.flatnonzero(since_s >= start_s - 0.5 / windows.frame_rate)
        if start_s < 0 or not len(late):
            raise InputError(
                f"start={start_s}: {self.scene} can start between {since_s[0]:.2f} and {since_s[-1]:.2f} s;"
                " choose there"
            )
        place = int(late[0])
        if since_s[place] <= start_s + 1.5 / windows.frame_rate:
            return int(rows[place]), ()
        met = first_break(windows.report.breaks, begin_us * 1e-6 + start_s - 0.5 / windows.frame_rate)
        return int(rows[place]), (f"start={start_s:g}: begins at {since_s[place]:.2f} s; {met}",)

    def _lead_rows(self, cameras: tuple[str, ...]) -> np.ndarray:
        """Rows of all frames of the leading camera in this scene."""
        chains = camera_chains(self.index, cameras)
        sensor = self.index.texts("sensor", "channel").index(cameras[0])
        begin, end, _ = chains.span(self.index.scene_names.index(self.scene), sensor)
        return chains.rows_S[begin:end]

    def _longest(self, observed_frames: int, future_frames: int, size: tuple[int, int], row: int) -> int:
        """The most future frames, up to those asked for, that a run beginning at this row has."""
        fits, too_many = 0, future_frames + 1
        trial = future_frames
        while fits < too_many - 1:
            fits, too_many = (trial, too_many) if self._reaches(observed_frames + trial, size, row) else (fits, trial)
            trial = (fits + too_many) // 2
        return fits

    def _reaches(self, frames: int, size: tuple[int, int], row: int) -> bool:
        try:
            return row in _first_rows(self._windows(frames, size))
        except InputError:  # no run of this length in the whole scene
            return False


def _first_rows(windows: NuScenesPairs) -> list[int]:
    """`sample_data` rows of the leading camera's first frames."""
    return windows.frame_rows()[:, 0, 0].tolist()


def _why_cut(windows: NuScenesPairs, run: PixelPair, what: str) -> tuple[str, ...]:
    """A note if a missing frame right behind the run is why it is no longer; none if the scene ends there."""
    last_s = dict(zip(run.cameras, run.times_s[:, -1].tolist(), strict=True))
    here = [
        breaks.describe(number)
        for breaks in windows.report.breaks
        for number in np.flatnonzero(np.abs(breaks.times_K - last_s[breaks.camera]) < 1e-4).tolist()
    ]
    return (f"{what}: {', '.join(here)}",) if here else ()


def _cut(run: PixelPair, observed_frames: int) -> PixelPair:
    video_NLCHW = torch.cat([run.observed_NFCHW, run.future_NGCHW], dim=1)
    return replace(run, observed_NFCHW=video_NLCHW[:, :observed_frames], future_NGCHW=video_NLCHW[:, observed_frames:])
