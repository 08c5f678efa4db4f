"""Cutting scenes into windows of all cameras, with a report of what was left out and why."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.report import NuScenesReport
from worldmodel.datasets.nuscenes.tracks import NuScenesTrack, scene_tracks
from worldmodel.datasets.windows import WindowRule, windows
from worldmodel.errors import InputError


def cut_scenes(
    index: NuScenesIndex, scenes: Sequence[str], cameras: tuple[str, ...], rule: WindowRule, report: NuScenesReport
) -> Int64[np.ndarray, "P N"]:
    """First places in `CameraChains.rows_S` of every window of some scenes, P windows of N cameras.

    Raises:
        InputError: not one window in all of them; the message says why of the first scene.
    """
    parts = []
    for scene in scenes:
        tracks = scene_tracks(index, scene, cameras, rule.max_gap)
        parts.append(cut_tracks(tracks, rule, report) + np.array([track.first for track in tracks]))
    starts_PN = np.concatenate(parts)
    report.pairs = len(starts_PN)
    if len(starts_PN) == 0:
        raise no_window(index, report)
    return starts_PN


def no_window(index: NuScenesIndex, report: NuScenesReport) -> InputError:
    """What to raise where no scene gave a window: why the first did not."""
    more = f" (and {report.scenes - 1} more scenes)" if report.scenes > 1 else ""
    remedy = "ask for fewer frames or other cameras"
    return InputError(f"no chunk pair in {index.root / index.version}: {report.short_scenes[0]}{more}; {remedy}")


def cut_tracks(tracks: Sequence[NuScenesTrack], rule: WindowRule, report: NuScenesReport) -> Int64[np.ndarray, "W N"]:
    """First frames of every window of one scene, W windows of N cameras; `report` is told what was left out."""
    report.scenes += 1
    for track in tracks:
        report.count("broken_chains", track.camera, int((~track.linked).sum()))
        report.count("gaps", track.camera, int((track.linked & ~track.joined).sum()))
        report.breaks += [track.breaks] if len(track.breaks) else []
    for track in tracks:
        if len(track) < rule.length:
            report.short_scenes.append(f"{track.scene}: {track.camera} has {len(track)} frames, {rule.length} needed")
            return np.zeros((0, len(tracks)), dtype=np.int64)
    cut = windows(tracks, rule)
    for camera, starts in cut.out_of_step.items():
        report.count("out_of_step", camera, starts)
    if not len(cut.starts_WN):
        report.short_scenes.append(f"{tracks[0].scene}: {_why_none(tracks, rule)}")
    return cut.starts_WN


def _why_none(tracks: Sequence[NuScenesTrack], rule: WindowRule) -> str:
    broken = sorted((track.breaks for track in tracks if len(track.breaks)), key=len, reverse=True)
    if not broken:
        names = ", ".join(track.camera for track in tracks)
        return f"{names} never have {rule.length} frames within {1e3 * rule.furthest_s:.0f} ms of each other"
    more = [f"{len(broken) - 3} more cameras miss some"] if len(broken) > 3 else []
    listed = ", ".join([breaks.describe_all() for breaks in broken[:3]] + more)
    longest = min(max(map(len, track.runs())) for track in tracks)
    whose = "" if len(tracks) == 1 else " of all cameras"
    return f"no {rule.length} frames in a row{whose}, at most {min(longest, rule.length - 1)}: {listed}"
