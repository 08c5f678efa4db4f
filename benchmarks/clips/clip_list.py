"""A clip list: which frames an evaluation looks at, and the hash that says so.

Legend: L frames of a clip.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worldmodel.errors import InputError


@dataclass(frozen=True)
class View:
    """What one camera saw during a clip.

    Attributes:
        camera: its name.
        frames: L picture files relative to the data root; frames of a video are written ``FILE#NUMBER``.
        start_token: `sample_data` token of the first frame; empty outside nuScenes' format.
        timestamps_us: L capture times in microseconds; empty for frames of a video.
    """

    camera: str
    frames: tuple[str, ...]
    start_token: str = ""
    timestamps_us: tuple[int, ...] = ()


@dataclass(frozen=True)
class Actions:
    """Where the vehicle goes in the two seconds after a clip's first frame, in Vista's terms (see `actions`).

    Attributes:
        traj: five points (metres to the left, metres ahead) at 0, 0.5, 1, 1.5 and 2 s, one after the other.
        cmd: 0 right, 1 left, 2 stop, 3 forward.
        goal: the last point in the picture, pixels of 1600 x 900. z: its depth in metres; at most 0 where not seen.
    """

    traj: tuple[float, ...]
    cmd: int
    goal: tuple[float, float]
    z: float


@dataclass(frozen=True)
class Clip:
    """L consecutive frames of one or several synchronised cameras; `caption` describes a video."""

    scene: str
    views: tuple[View, ...]
    actions: Actions | None = None
    caption: str = ""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of `views`."""
        return tuple(view.camera for view in self.views)

    @property
    def lead(self) -> View:
        """The view that stands for the clip where only one can: CAM_FRONT, or the first."""
        return next((view for view in self.views if view.camera == "CAM_FRONT"), self.views[0])


@dataclass(frozen=True)
class ClipList:
    """A published list of clips.

    Attributes:
        name, version: together the list's label, ``vista-val@2``.
        rule: how the clips are chosen, in words.
        expected: how many clips the complete data give.
        frames: L. observed_frames: how many of them are given to a model by default; any other split is possible.
        frame_rate: frames per second; None where every video has its own.
        tables: version folder of the nuScenes-format tables; empty for videos.
        clips: in the list's order.
        source: what the file names alone do not say about the data; part of `sha256`.
        notes: what was left out and why, one sentence each.
        frame_hashes: sha256 of each file's bytes, by file name, where that was asked for.

    Raises:
        InputError: a clip of another length, with a frame twice, with times that do not rise, or listed twice.
    """

    name: str
    version: int
    rule: str
    expected: int
    frames: int
    observed_frames: int
    frame_rate: float | None
    tables: str
    clips: tuple[Clip, ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    frame_hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.observed_frames < self.frames:
            raise InputError(f"{self.label}: frames={self.frames}: give more than the {self.observed_frames} observed")
        seen: set[tuple[str, str]] = set()
        for number, clip in enumerate(self.clips):
            for view in clip.views:
                _refuse_broken(f"{self.label}, clip {number} ({clip.scene}, {view.camera})", view, self.frames)
            place = (clip.lead.camera, clip.lead.frames[0])
            if place in seen:
                raise InputError(f"{self.label}, clip {number}: {place[1]} begins another clip too; build it anew")
            seen.add(place)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """Over everything that identifies the frames: label, scenes, cameras, files, tokens, times, and `source`."""
        views = [
            [[clip.scene, view.camera, view.frames, view.start_token, view.timestamps_us] for view in clip.views]
            for clip in self.clips
        ]
        return _digest({"list": self.label, "frames": self.frames, "source": dict(self.source), "clips": views})

    @cached_property
    def frames_sha256(self) -> str:
        """Over the bytes of every file; empty where `frame_hashes` was not asked for."""
        return _digest(dict(self.frame_hashes)) if self.frame_hashes else ""

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every picture or video file, once, in order of name."""
        frames = {frame for clip in self.clips for view in clip.views for frame in view.frames}
        return tuple(sorted({self.file_of(frame)[0] for frame in frames}))

    def file_of(self, frame: str) -> tuple[str, int]:
        """File of a frame and its number in it; 0 for a picture."""
        if self.tables:
            return frame, 0
        file, _, number = frame.rpartition("#")
        if not file or not number.isdigit():
            raise InputError(f"{self.label}: frame {frame!r} is not FILE#NUMBER; build the list anew")
        return file, int(number)


def _refuse_broken(place: str, view: View, length: int) -> None:
    times = view.timestamps_us
    if len(view.frames) != length or len(times) not in (0, length):
        raise InputError(f"{place}: {len(view.frames)} frames and {len(times)} times, not {length}; build it anew")
    if len(set(view.frames)) < length:
        twice = next(frame for frame in view.frames if view.frames.count(frame) > 1)
        raise InputError(f"{place}: frame {twice} is there twice; restore the tables")
    if any(late >= later for late, later in zip(times, times[1:], strict=False)):
        raise InputError(f"{place}: the frames' times do not rise; restore the tables")


def _digest(content: dict[str, Any]) -> str:
    """The same on every machine and for every order of keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def rank(label: str, seed: int, what: str) -> str:
    """A random number that follows from the seed and the thing alone: drawing keeps those of the lowest rank.

    Unlike a generator's, it depends neither on the order of what is drawn from nor on a library's version.
    """
    return hashlib.sha256(f"{label}/{seed}/{what}".encode()).hexdigest()
