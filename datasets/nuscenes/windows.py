"""Which runs of frames may become chunk pairs: consecutive, without gaps, all cameras in step.

Shape legend: P pairs, N cameras (the first leads), L frames of a pair (observed + future), R frames of one camera in
one scene.
"""

from dataclasses import dataclass, field

import numpy as np

from worldmodel.datasets.nuscenes.chains import CameraChains


@dataclass
class Report:
    """What was left out, and why.

    Attributes:
        pairs: chunk pairs that remain.
        scenes: scenes looked at.
        absent_scenes: scenes of the split that these tables do not have (mini has ten of them).
        gaps: camera -> steps between consecutive frames that are too long or too short.
        broken_chains: camera -> places inside a scene where `next` ends although frames follow.
        short_scenes: "scene: why", scenes that give no pair at all.
        out_of_step: camera -> possible starts that were refused because it could not be matched to the leading camera.
        bad_images: one sentence per image that could not be read (`skip_bad` or `check`).
        bad_pairs: pairs that hold such an image.
        dropped_references: dangling references of the tables (`open_index(..., skip_bad=True)`).
    """

    pairs: int = 0
    scenes: int = 0
    absent_scenes: list[str] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)
    broken_chains: dict[str, int] = field(default_factory=dict)
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
        for name in ("absent_scenes", "short_scenes", "bad_images", "dropped_references"):
            listed = getattr(self, name)
            lines += [f"{name.replace('_', ' ')}: {len(listed)}", *(f"  {entry}" for entry in listed)] if listed else []
        return "\n".join([*lines, f"pairs with a bad image: {self.bad_pairs}"] if self.bad_pairs else lines)


@dataclass(frozen=True)
class WindowRule:
    """How pairs are cut: `length` frames, every `stride` frames, steps within `max_gap` of `frame_time` seconds."""

    length: int
    stride: int
    frame_time: float
    max_gap: float


@dataclass(frozen=True)
class _Track:
    """One camera in one scene: first position in `rows_S`, times, and whether frame i + 1 follows frame i."""

    base: int
    times_R: np.ndarray
    step_ok: np.ndarray

    def whole(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Whether `length` frames from each start are there and consecutive."""
        broken = np.concatenate([[0], np.cumsum(~self.step_ok)])
        inside = (starts >= 0) & (starts + length <= len(self.times_R))
        first = np.where(inside, starts, 0)
        last = np.minimum(first + length - 1, len(broken) - 1)
        return inside & (broken[last] == broken[first])


def cut_windows(
    chains: CameraChains,
    scene: int,
    scene_name: str,
    cameras: tuple[str, ...],
    sensors: list[int],
    rule: WindowRule,
    report: Report,
) -> np.ndarray:
    """First positions in `chains.rows_S` of every pair of one scene: [P, N] int64.

    The leading camera's frames are taken `stride` apart; behind a refused start the next possible one is tried. Every
    other camera gives consecutive frames too, shifted so that they lie nearest to the leader's, none further than
    (0.5 + max_gap) frame times.
    """
    tracks = [
        _track(chains, scene, sensor, camera, rule, report) for camera, sensor in zip(cameras, sensors, strict=True)
    ]
    report.scenes += 1
    for camera, track in zip(cameras, tracks, strict=True):
        if len(track.times_R) < rule.length:
            report.short_scenes.append(f"{scene_name}: {camera} has {len(track.times_R)} frames, {rule.length} needed")
            return np.zeros((0, len(cameras)), dtype=np.int64)
    starts = np.arange(len(tracks[0].times_R) - rule.length + 1)
    good = tracks[0].whole(starts, rule.length)
    positions = [starts]
    for camera, track in zip(cameras[1:], tracks[1:], strict=True):
        matched, in_step = _match(tracks[0], track, rule)
        if good.any() and not (good & in_step).all():
            report.out_of_step[camera] = report.out_of_step.get(camera, 0) + int((good & ~in_step).sum())
        good &= in_step
        positions.append(matched)
    chosen = _every(good, rule.stride)
    if not chosen:
        report.short_scenes.append(f"{scene_name}: no {rule.length} frames in a row without a gap, all cameras in step")
    bases = np.array([track.base for track in tracks])
    return np.stack(positions, axis=1)[chosen] + bases


def _track(chains: CameraChains, scene: int, sensor: int, camera: str, rule: WindowRule, report: Report) -> _Track:
    # Chains are sorted by scene, then sensor, then time: those of one camera in one scene lie side by side.
    low, high = np.searchsorted(chains.scenes, [scene, scene + 1])
    mine = low + np.flatnonzero(chains.sensors[low:high] == sensor)
    if len(mine) == 0:
        return _Track(0, np.zeros(0), np.zeros(0, dtype=bool))
    begin, end = int(chains.starts[mine[0]]), int(chains.starts[mine[-1] + 1])
    times = chains.times_S[begin:end]
    linked = np.ones(end - begin - 1, dtype=bool)
    linked[chains.starts[mine[1:]] - begin - 1] = False
    even = np.abs(np.diff(times) - rule.frame_time) <= rule.max_gap * rule.frame_time
    _count(report.broken_chains, camera, int((~linked).sum()))
    _count(report.gaps, camera, int((linked & ~even).sum()))
    return _Track(begin, times, linked & even)


def _match(lead: _Track, other: _Track, rule: WindowRule) -> tuple[np.ndarray, np.ndarray]:
    """For each start of the leader: the start in `other` whose frames lie nearest, and whether all are in step."""
    middles = (other.times_R[1:] + other.times_R[:-1]) / 2
    nearest = np.searchsorted(middles, lead.times_R) - np.arange(len(lead.times_R))
    starts = np.arange(len(lead.times_R) - rule.length + 1)
    shift = np.median(np.lib.stride_tricks.sliding_window_view(nearest, rule.length), axis=1)
    # At a scene's ends the nearest frame may not exist; the next one is taken if it is near enough.
    matched = (starts + np.floor(shift).astype(np.int64)).clip(0, max(len(other.times_R) - rule.length, 0))
    whole = other.whole(matched, rule.length)
    frames = np.arange(rule.length)
    theirs = other.times_R[np.where(whole, matched, 0)[:, None] + frames]
    apart = np.abs(theirs - lead.times_R[starts[:, None] + frames]).max(axis=1)
    return matched, whole & (apart <= (0.5 + rule.max_gap) * rule.frame_time)


def _every(good: np.ndarray, stride: int) -> list[int]:
    chosen, start = [], 0
    possible = np.flatnonzero(good)
    while (place := int(np.searchsorted(possible, start))) < len(possible):
        chosen.append(int(possible[place]))
        start = chosen[-1] + stride
    return chosen


def _count(counts: dict[str, int], camera: str, number: int) -> None:
    if number:
        counts[camera] = counts.get(camera, 0) + number
