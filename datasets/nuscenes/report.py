"""What was left out of a dataset when it was cut into chunk pairs, and why: which camera misses which frame.

Shape legend: K breaks of one camera in one scene.
"""

from dataclasses import dataclass, field

import numpy as np

from worldmodel.datasets.timing import missing_frames


@dataclass(frozen=True)
class Breaks:
    """Where the frames of one camera in one scene do not go on: a frame is missing, or its chain or clock is broken.

    Attributes:
        scene, camera: names.
        frames_K: number of the last frame before each break, from 0, among the camera's frames of the scene.
        times_K: capture time of that frame in seconds; since_K: seconds since the camera's first frame of the scene.
        steps_K: seconds from that frame to the next; linked_K: whether `next` leads to it.
        rate: nominal frames per second.
    """

    scene: str
    camera: str
    frames_K: np.ndarray
    times_K: np.ndarray
    since_K: np.ndarray
    steps_K: np.ndarray
    linked_K: np.ndarray
    rate: float

    def __len__(self) -> int:
        return len(self.frames_K)

    def describe(self, number: int = 0) -> str:
        """One break in words: "CAM_BACK misses 1 frame behind frame 14 (1.25 s)"."""
        step_s = float(self.steps_K[number])
        missing = missing_frames(step_s, self.rate)
        if missing:
            what = f"misses {missing} frame{'s' if missing > 1 else ''}"
        elif not self.linked_K[number]:
            what = "has a broken chain"
        else:
            what = f"goes on after {1e3 * step_s:.0f} ms"  # a frame too many, or time that does not pass
        return f"{self.camera} {what} behind frame {self.frames_K[number]} ({self.since_K[number]:.2f} s)"

    def describe_all(self) -> str:
        """The first break in words, and how many more there are."""
        return self.describe() + (f" and {len(self) - 1} times more" if len(self) > 1 else "")


def first_break(breaks: list[Breaks], from_s: float) -> str:
    """In words, the earliest break of any camera at or after a capture time; that nothing is in step if there is none.

    Args:
        from_s: seconds of the datasets' clock.
    """
    later = [
        (float(camera.times_K[number]), camera.describe(number))
        for camera in breaks
        for number in np.flatnonzero(camera.times_K >= from_s).tolist()
    ]
    return min(later)[1] if later else "the cameras are not in step before"


@dataclass
class NuScenesReport:
    """What was left out, and why.

    Attributes:
        pairs: chunk pairs that remain.
        scenes: scenes looked at.
        absent_cameras: cameras of the rig that have no frame in these tables and were left out by default.
        absent_scenes: scenes of the split that these tables do not have (mini has ten of them).
        gaps: camera -> steps between consecutive frames in which a frame is missing or time does not pass.
        broken_chains: camera -> places inside a scene where `next` ends although frames follow.
        breaks: the same places one by one, per scene and camera.
        short_scenes: "scene: why", scenes that give no pair at all.
        out_of_step: camera -> possible starts that were refused because it could not be matched to the leading camera.
        bad_images: one sentence per image that could not be read (`skip_bad` or `check`).
        bad_pairs: pairs that hold such an image.
        dropped_references: dangling references of the tables (`open_index(..., skip_bad=True)`).
    """

    pairs: int = 0
    scenes: int = 0
    absent_cameras: list[str] = field(default_factory=list)
    absent_scenes: list[str] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)
    broken_chains: dict[str, int] = field(default_factory=dict)
    breaks: list[Breaks] = field(default_factory=list)
    short_scenes: list[str] = field(default_factory=list)
    out_of_step: dict[str, int] = field(default_factory=dict)
    bad_images: list[str] = field(default_factory=list)
    bad_pairs: int = 0
    dropped_references: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.pairs} chunk pairs from {self.scenes} scenes"]
        for name in ("gaps", "broken_chains", "out_of_step"):
            counts = ", ".join(f"{camera} {number}" for camera, number in getattr(self, name).items())
            lines += [f"{name.replace('_', ' ')}: {counts}"] if counts else []
        lines += [f"  {first.scene}: {first.describe()}" for first in self._first_breaks()]
        lines += [f"cameras without frames: {', '.join(self.absent_cameras)}"] if self.absent_cameras else []
        for name in ("absent_scenes", "short_scenes", "bad_images", "dropped_references"):
            listed = getattr(self, name)
            lines += [f"{name.replace('_', ' ')}: {len(listed)}", *(f"  {entry}" for entry in listed)] if listed else []
        return "\n".join([*lines, f"pairs with a bad image: {self.bad_pairs}"] if self.bad_pairs else lines)

    def _first_breaks(self) -> list[Breaks]:
        """The first that was met of each camera."""
        return list({breaks.camera: breaks for breaks in reversed(self.breaks)}.values())[::-1]

    def count(self, name: str, camera: str, number: int) -> None:
        """Add to one of the counts by camera."""
        if number:
            counts = getattr(self, name)
            counts[camera] = counts.get(camera, 0) + number
