"""One drive, whatever it is stored as: nuScenes tables, one video, a rig's videos, images.

Legend: N cameras, F observed frames, G future frames, C colours (3), H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from worldmodel.datasets.nuscenes.chains import frame_rate as rate_of
from worldmodel.datasets.nuscenes.cutting import cut_tracks, no_window
from worldmodel.datasets.nuscenes.frames import SampleFrames
from worldmodel.datasets.nuscenes.index import NuScenesIndex, open_index
from worldmodel.datasets.nuscenes.locate import find_versions
from worldmodel.datasets.nuscenes.pairs import read_pair
from worldmodel.datasets.nuscenes.report import NuScenesReport, first_break
from worldmodel.datasets.nuscenes.selection import chosen_cameras, chosen_scenes
from worldmodel.datasets.nuscenes.tracks import NuScenesTrack, scene_tracks
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.video_source import open_videos
from worldmodel.datasets.windows import WindowRule, longest_window, windows
from worldmodel.errors import InputError


@runtime_checkable
class FrameSource(Protocol):
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
        frame_rate: float | None = None,
        resample: str = "area",
    ) -> PixelPair:
        """The observed frames from `start_s` seconds after the first frame on, and as many future ones as there are.

        `resample`: how pictures come to size, see `worldmodel.datasets.images.read_image`.
        """
        ...


def open_source(
    path: str | Path,
    version: str | None = None,
    scene: str | None = None,
    cameras: Sequence[str] = (),
    image_rate: float | None = None,
    video_reader: str = "pyav",
) -> FrameSource:
    """Open a nuScenes root (a folder with version folders in it), a video, a folder of videos or one of images.

    Args:
        version: which tables of a nuScenes root; may be left out where there is one version only.
        scene: name of a nuScenes scene; by default the first. Videos are one scene.
        cameras: which cameras in which order, all by default; for videos see `open_videos`.
        image_rate: frames per second of a folder of images.
        video_reader: what reads videos, pyav or decord.

    Raises:
        InputError: nothing usable there, an unknown version, scene or camera.
        MissingDependency: decord is asked for and not installed.
    """
    root = Path(path)
    versions = find_versions(root)
    if not versions and version is None:
        if scene is not None:
            raise InputError(f"scene={scene}: {root} holds no nuScenes tables, footage is one scene; leave scene out")
        return open_videos(root, cameras or None, image_rate, video_reader)
    if version is None and len(versions) > 1:
        raise InputError(f"{root}: has versions {', '.join(versions)}; choose one with version=")
    index = open_index(root, version)
    if not index.scene_names:
        raise InputError(f"{root / index.version}/scene.json: no scene in it; choose another version")
    return NuScenesSource(index, scene or index.scene_names[0], tuple(cameras))


@dataclass(frozen=True)
class NuScenesSource:
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
        if observed_frames < 1:
            raise InputError(f"observed_frames={observed_frames} must be at least 1")
        frames = SampleFrames(self.index, size, resample)
        chosen_scenes(self.index, self.scene, None)
        cameras = chosen_cameras(self.index, self.cameras or None)
        own_rate = rate_of(self.index, cameras)
        tracks, rule = scene_tracks(self.index, self.scene, cameras), WindowRule(observed_frames, 1, own_rate)
        starts = self._starts(tracks, rule)
        if frame_rate is not None and abs(frame_rate - own_rate) > 0.05 * own_rate:
            raise InputError(
                f"frame_rate={frame_rate}: {self.scene} has {own_rate:g} frames per second and nuScenes frames are"
                " not resampled; leave frame_rate out"
            )
        start, notes = self._start(tracks, starts, start_s, own_rate)
        length = longest_window(tracks, start, observed_frames, observed_frames + future_frames, rule)
        cut = windows(tracks, replace(rule, length=length)).starts_WN
        (first_N,) = cut[cut[:, 0] == start]
        rows = [track.rows_K[first : first + length] for track, first in zip(tracks, first_N.tolist(), strict=True)]
        pair = read_pair(frames, cameras, np.stack(rows), observed_frames, own_rate)
        if length < observed_frames + future_frames:
            given = f"{length - observed_frames} of {future_frames} future frames"
            notes += _why_cut(tracks, (first_N + length - 1).tolist(), given)
        return replace(pair, notes=notes)

    def _starts(self, tracks: list[NuScenesTrack], rule: WindowRule) -> list[int]:
        """First frames of the leader of all windows; raises `InputError` where there is none."""
        report = NuScenesReport()
        starts_WN = cut_tracks(tracks, rule, report)
        if not len(starts_WN):
            raise no_window(self.index, report)
        starts: list[int] = starts_WN[:, 0].tolist()
        return starts

    def _start(
        self, tracks: list[NuScenesTrack], starts: list[int], start_s: float, rate: float
    ) -> tuple[int, tuple[str, ...]]:
        """The leader's frame to begin at, and a note where that is later than asked for."""
        times_us = self.index.column("sample_data", "timestamp")[tracks[0].rows_K]
        since_s = (times_us[starts] - int(times_us[0])) * 1e-6
        late = np.flatnonzero(since_s >= start_s - 0.5 / rate)
        if start_s < 0 or not len(late):
            raise InputError(
                f"start={start_s}: {self.scene} can start between {since_s[0]:.2f} and {since_s[-1]:.2f} s;"
                " choose there"
            )
        place = int(late[0])
        if since_s[place] <= start_s + 1.5 / rate:
            return starts[place], ()
        breaks = [track.breaks for track in tracks if len(track.breaks)]
        met = first_break(breaks, int(times_us[0]) * 1e-6 + start_s - 0.5 / rate)
        return starts[place], (f"start={start_s:g}: begins at {since_s[place]:.2f} s; {met}",)


def _why_cut(tracks: list[NuScenesTrack], last: list[int], what: str) -> tuple[str, ...]:
    """A note if a missing frame right behind the last one is why there are no more; none if the scene ends there."""
    here = [
        track.breaks.describe(number)
        for track, frame in zip(tracks, last, strict=True)
        for number in np.flatnonzero(track.breaks.frames_K == frame).tolist()
    ]
    return (f"{what}: {', '.join(here)}",) if here else ()
