"""Each camera of a nuScenes scene as a track: its frames in driving order, and where frames are missing.

Shape legend: K frames of a camera in a scene, F frames that are read, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8

from worldmodel.datasets.nuscenes.chains import camera_chains, frame_rate
from worldmodel.datasets.nuscenes.frames import SampleFrames
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.report import Breaks
from worldmodel.datasets.timing import MAX_GAP, is_gap
from worldmodel.datasets.track import Track


@dataclass(frozen=True, eq=False)
class NuScenesTrack(Track):
    """One camera in one scene.

    Attributes:
        rows_K: the frames' rows of `sample_data`.
        first: place of frame 0 among the rows of all scenes, `CameraChains.rows_S`.
        times_s: capture times, of the dataset's own clock.
        linked: whether `next` leads from frame k to frame k + 1 [K-1]; `joined` are those of them without a gap.
        breaks: where frames are not joined.
    """

    index: NuScenesIndex
    scene: str
    camera: str
    rows_K: Int32[np.ndarray, "K"]
    first: int
    times_s: Float64[np.ndarray, "K"]
    joined: Bool[np.ndarray, "K-1"]
    linked: Bool[np.ndarray, "K-1"]
    breaks: Breaks

    def read(
        self, frames: Sequence[int], size: tuple[int, int], resample: str = "area"
    ) -> UInt8[np.ndarray, "F 3 H W"]:
        """As `Track.read`."""
        return SampleFrames(self.index, size, resample).read(self.rows_K[list(frames)])


def scene_tracks(
    index: NuScenesIndex, scene: str, cameras: Sequence[str], max_gap: float = MAX_GAP
) -> list[NuScenesTrack]:
    """The tracks of some cameras in one scene.

    Args:
        cameras: names; their nominal rate is that of all scenes.
        max_gap: a step between frames may differ from the nominal frame time by this part of it.

    Raises:
        InputError: an unknown camera, or time stamps that are no camera's.
    """
    chains, rate = camera_chains(index, tuple(cameras)), frame_rate(index, tuple(cameras))
    channels, scene_row = index.texts("sensor", "channel"), index.scene_names.index(scene)
    tracks = []
    for camera in cameras:
        begin, end, heads = chains.span(scene_row, channels.index(camera))
        times_s = chains.times_S[begin:end]
        steps_s = np.diff(times_s)
        linked = np.ones(len(steps_s), dtype=bool)
        linked[heads[1:] - begin - 1] = False
        joined = linked & ~is_gap(steps_s, rate, max_gap)
        last = np.flatnonzero(~joined)
        since_s = times_s[last] - times_s[:1]
        breaks = Breaks(scene, camera, last, times_s[last], since_s, steps_s[last], linked[last], rate)
        rows_K = chains.rows_S[begin:end]
        tracks.append(NuScenesTrack(index, scene, camera, rows_K, begin, times_s, joined, linked, breaks))
    return tracks
