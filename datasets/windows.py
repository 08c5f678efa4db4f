"""Windows of several cameras in step: from each the same number of frames in a row, nearest in time to the leader's.

Shape legend: N cameras, the first leads; S possible starts of the leader, W windows, L frames of a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from worldmodel.datasets.timing import MAX_GAP
from worldmodel.datasets.track import Track, spaced


@dataclass(frozen=True)
class WindowRule:
    """How windows are cut: `length` frames, every `stride` frames, cameras in step.

    Attributes:
        rate: nominal frames per second. max_gap: the part of the frame time by which a step may differ from it.
    """

    length: int
    stride: int
    rate: float
    max_gap: float = MAX_GAP

    @property
    def furthest_s(self) -> float:
        """Seconds by which frames of two cameras in step may differ: one frame time, if `max_gap` is half of one.

        Half a frame time, as they may begin anywhere in each other's step, and what either is off an even clock:
        cameras fired by the lidar up to a fifth of a frame time each. On mini_val up to 75 ms of 83 are reached.
        """
        return (0.5 + self.max_gap) * (1 / self.rate)


@dataclass(frozen=True)
class Windows:
    """Windows of all cameras: first frames [W, N], and how many starts each camera was out of step for."""

    starts_WN: Int64[np.ndarray, "W N"]
    out_of_step: dict[str, int]


def windows(tracks: Sequence[Track], rule: WindowRule) -> Windows:
    """Cut windows from the tracks of one drive.

    The leading camera's frames are taken `stride` apart; behind a refused start the next possible one is tried. Every
    other camera gives consecutive frames too, shifted so that they lie nearest to the leader's, none further than
    `rule.furthest_s`.
    """
    if min(map(len, tracks)) < rule.length:
        return Windows(np.zeros((0, len(tracks)), dtype=np.int64), {})
    starts = np.arange(len(tracks[0]) - rule.length + 1)
    good = tracks[0].has_run(starts, rule.length)
    columns, out_of_step = [starts], dict[str, int]()
    for track in tracks[1:]:
        matched, in_step = _matched(tracks[0], track, rule)
        out_of_step[track.camera] = int((good & ~in_step).sum())
        good = good & in_step
        columns.append(matched)
    return Windows(np.stack(columns, axis=1)[spaced(good, rule.stride)], out_of_step)


def longest_window(tracks: Sequence[Track], start: int, shortest: int, longest: int, rule: WindowRule) -> int:
    """Frames of the longest window that begins at frame `start` of the leader, of these lengths.

    A window of `shortest` frames begins there. Halved rather than counted: nearly always all of `longest` are there.
    """
    fits, too_many, trial = shortest, longest + 1, longest
    while fits < too_many - 1:
        begins = start in windows(tracks, replace(rule, length=trial, stride=1)).starts_WN[:, 0]
        fits, too_many = (trial, too_many) if begins else (fits, trial)
        trial = (fits + too_many) // 2
    return fits


def _matched(lead: Track, follower: Track, rule: WindowRule) -> tuple[Int64[np.ndarray, "S"], Bool[np.ndarray, "S"]]:
    """For each start of the leader, the start of the follower whose frames lie nearest, and whether all are in step."""
    starts = np.arange(len(lead) - rule.length + 1)
    middles = (follower.times_s[1:] + follower.times_s[:-1]) / 2
    shift_K = np.searchsorted(middles, lead.times_s) - np.arange(len(lead))
    shift = np.median(np.lib.stride_tricks.sliding_window_view(shift_K, rule.length), axis=1)
    # Frames that lie half a step apart are nearest to one neighbour now and to the other then: of three runs the one
    # counts whose furthest frame is nearest. At a drive's ends the nearest frame may not exist, and the next one does.
    tried = starts + np.floor(shift).astype(np.int64) + np.arange(-1, 2)[:, None]
    distance_s = np.stack([_furthest_s(lead, follower, starts, matched, rule.length) for matched in tried])
    best = distance_s.argmin(axis=0), np.arange(len(starts))
    return tried[best], distance_s[best] <= rule.furthest_s


def _furthest_s(
    lead: Track, follower: Track, starts: np.ndarray, matched: np.ndarray, length: int
) -> Float64[np.ndarray, "S"]:
    """Seconds between the furthest two frames of each window; infinite where the follower has no such run."""
    there, frames = follower.has_run(matched, length), np.arange(length)
    theirs = follower.times_s[np.where(there, matched, 0)[:, None] + frames]
    return np.where(there, np.abs(theirs - lead.times_s[starts[:, None] + frames]).max(axis=1), np.inf)
