"""Which runs of frames may become chunk pairs: consecutive, without gaps, all cameras in step.

Shape legend: P pairs, N cameras (the first leads), L frames of a pair (observed + future), R frames of one camera in
one scene.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.datasets.nuscenes.chains import CameraChains
from worldmodel.datasets.nuscenes.report import Breaks, NuScenesReport
from worldmodel.datasets.nuscenes.timing import is_gap


@dataclass(frozen=True)
class WindowRule:
    """How pairs are cut: `length` frames, every `stride` frames, steps within `max_gap` of `frame_time` seconds."""

    length: int
    stride: int
    frame_time: float
    max_gap: float

    @property
    def furthest_s(self) -> float:
        """Seconds by which frames of two cameras in step may differ: one frame time, if `max_gap` is half of one.

        Half a frame time, as they may begin anywhere in each other's step, and what either is off an even clock:
        cameras fired by the lidar up to a fifth of a frame time each. On mini_val up to 75 ms of 83 are reached.
        """
        return (0.5 + self.max_gap) * self.frame_time


@dataclass(frozen=True)
class _Track:
    """One camera in one scene: first position in `rows_S`, times, and whether frame i + 1 follows frame i."""

    camera: str
    base: int
    times_R: np.ndarray
    step_ok: np.ndarray
    breaks: Breaks

    def whole(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Whether `length` frames from each start are there and consecutive."""
        broken = np.concatenate([[0], np.cumsum(~self.step_ok)])
        inside = (starts >= 0) & (starts + length <= len(self.times_R))
        first = np.where(inside, starts, 0)
        last = np.minimum(first + length - 1, len(broken) - 1)
        return inside & (broken[last] == broken[first])

    def longest_run(self) -> int:
        """Frames of the longest run without a break."""
        ends = np.flatnonzero(~np.append(self.step_ok, False))
        return int(np.diff(ends, prepend=-1).max(initial=0))


def cut_windows(
    chains: CameraChains,
    scene: int,
    scene_name: str,
    cameras: tuple[str, ...],
    sensors: list[int],
    rule: WindowRule,
    report: NuScenesReport,
) -> np.ndarray:
    """First positions in `chains.rows_S` of every pair of one scene: [P, N] int64.

    The leading camera's frames are taken `stride` apart; behind a refused start the next possible one is tried. Every
    other camera gives consecutive frames too, shifted so that they lie nearest to the leader's, none further than
    `rule.furthest_s`.
    """
    tracks = [
        _track(chains, scene, scene_name, sensor, camera, rule, report)
        for camera, sensor in zip(cameras, sensors, strict=True)
    ]
    report.scenes += 1
    for track in tracks:
        if len(track.times_R) < rule.length:
            report.short_scenes.append(
                f"{scene_name}: {track.camera} has {len(track.times_R)} frames, {rule.length} needed"
            )
            return np.zeros((0, len(cameras)), dtype=np.int64)
    good, starts_RN = _in_step(tracks, rule, report)
    chosen = _every(good, rule.stride)
    if not chosen:
        report.short_scenes.append(f"{scene_name}: {_why_none(tracks, rule)}")
    return starts_RN[chosen] + np.array([track.base for track in tracks])


def _in_step(tracks: list[_Track], rule: WindowRule, report: NuScenesReport) -> tuple[np.ndarray, np.ndarray]:
    """Whether each start of the leader gives a window of all cameras, and where the window begins in each."""
    starts = np.arange(len(tracks[0].times_R) - rule.length + 1)
    good = tracks[0].whole(starts, rule.length)
    positions = [starts]
    for track in tracks[1:]:
        matched, in_step = _match(tracks[0], track, rule)
        report.count("out_of_step", track.camera, int((good & ~in_step).sum()))
        good = good & in_step
        positions.append(matched)
    return good, np.stack(positions, axis=1)


def _track(
    chains: CameraChains,
    scene: int,
    scene_name: str,
    sensor: int,
    camera: str,
    rule: WindowRule,
    report: NuScenesReport,
) -> _Track:
    begin, end, heads = chains.span(scene, sensor)
    times = chains.times_S[begin:end]
    steps = np.diff(times)
    linked = np.ones(len(steps), dtype=bool)
    linked[heads[1:] - begin - 1] = False
    gaps = is_gap(steps, 1 / rule.frame_time, rule.max_gap)
    report.count("broken_chains", camera, int((~linked).sum()))
    report.count("gaps", camera, int((linked & gaps).sum()))
    last = np.flatnonzero(gaps | ~linked)
    since = times[last] - times[:1]
    breaks = Breaks(scene_name, camera, last, times[last], since, steps[last], linked[last], 1 / rule.frame_time)
    report.breaks += [breaks] if len(breaks) else []
    return _Track(camera, begin, times, linked & ~gaps, breaks)


def _match(lead: _Track, other: _Track, rule: WindowRule) -> tuple[np.ndarray, np.ndarray]:
    """For each start of the leader: the start in `other` whose frames lie nearest, and whether all are in step."""
    middles = (other.times_R[1:] + other.times_R[:-1]) / 2
    nearest = np.searchsorted(middles, lead.times_R) - np.arange(len(lead.times_R))
    starts = np.arange(len(lead.times_R) - rule.length + 1)
    shift = np.median(np.lib.stride_tricks.sliding_window_view(nearest, rule.length), axis=1)
    # Frames that lie half a step apart are nearest to one neighbour now and to the other then: of three runs the one
    # counts whose furthest frame is nearest. At a scene's ends the nearest frame may not exist, and the next one does.
    tried = starts + np.floor(shift).astype(np.int64) + np.arange(-1, 2)[:, None]
    apart = np.stack([_apart(lead, other, starts, matched, rule) for matched in tried])
    best = apart.argmin(axis=0), np.arange(len(starts))
    return tried[best], apart[best] <= rule.furthest_s


def _apart(lead: _Track, other: _Track, starts: np.ndarray, matched: np.ndarray, rule: WindowRule) -> np.ndarray:
    """Seconds between the furthest two frames of each window; infinite where `other` has no such run."""
    whole = other.whole(matched, rule.length)
    frames = np.arange(rule.length)
    theirs = other.times_R[np.where(whole, matched, 0)[:, None] + frames]
    return np.where(whole, np.abs(theirs - lead.times_R[starts[:, None] + frames]).max(axis=1), np.inf)


def _why_none(tracks: list[_Track], rule: WindowRule) -> str:
    broken = sorted((track.breaks for track in tracks if len(track.breaks)), key=len, reverse=True)
    if not broken:
        names = ", ".join(track.camera for track in tracks)
        return f"{names} never have {rule.length} frames within {1e3 * rule.furthest_s:.0f} ms of each other"
    more = [f"{len(broken) - 3} more cameras miss some"] if len(broken) > 3 else []
    listed = ", ".join([breaks.describe_all() for breaks in broken[:3]] + more)
    longest = min(track.longest_run() for track in tracks)
    whose = "" if len(tracks) == 1 else " of all cameras"
    return f"no {rule.length} frames in a row{whose}, at most {min(longest, rule.length - 1)}: {listed}"


def _every(good: np.ndarray, stride: int) -> list[int]:
    chosen, start = [], 0
    possible = np.flatnonzero(good)
    while (place := int(np.searchsorted(possible, start))) < len(possible):
        chosen.append(int(possible[place]))
        start = chosen[-1] + stride
    return chosen
