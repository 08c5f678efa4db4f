"""Which videos of a folder are which camera: one each, or several that are parts of one recording."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from worldmodel.datasets.video.file import VideoFile
from worldmodel.datasets.video.track import VideoTrack
from worldmodel.errors import InputError

JOINT_SIZE = (72, 128)
# A part repeats its predecessor's last frame if the two differ, in squared error, by less than a quarter of what one
# frame of motion changes. On seven 30 fps cameras cut into overlapping parts: 44.7 to 47.8 dB at a joint, where a step
# gives 19.4 to 36.0 dB.
JOINT_RATIO = 0.25


def chosen_tracks(
    folder: Path, videos: list[Path], cameras: Sequence[str], reader: type[VideoFile]
) -> list[VideoTrack]:
    """The cameras asked for, `NAME` or `NEW_NAME:file_name`, in this order.

    Raises:
        InputError: a name that no video answers to, or several do; a camera twice; a missing part.
    """
    names = [_renamed(camera, videos)[0] for camera in cameras]
    if any("/" in name or not name for name in names):
        raise InputError(f"{folder}: cameras {', '.join(cameras)}; a camera's name is not empty and has no slash")
    if len(set(names)) < len(names):
        raise InputError(f"{folder}: cameras {', '.join(names)}; give every camera once")
    return [_chosen_track(folder, videos, camera, reader) for camera in cameras]


def all_tracks(videos: list[Path], reader: type[VideoFile]) -> list[VideoTrack]:
    """Every camera of the folder; videos are joined where they are numbered as parts and each repeats a frame."""
    joined = {name: _joined(name, parts, reader) for name, parts in _parts(videos).items() if _are_counted(parts)}
    joined = {name: track for name, track in joined.items() if all(track.repeats[1:])}
    tracks: dict[str, VideoTrack] = {}
    for video in videos:
        name = _part_of(video)
        own = video.stem if video.stem not in tracks else video.name
        key = name if name in joined else own
        tracks.setdefault(key, joined[name] if name in joined else VideoTrack(own, (reader(video),)))
    return list(tracks.values())


def _renamed(camera: str, videos: list[Path]) -> tuple[str, str]:
    """Name of a camera and of its video, from `NAME` or `NEW_NAME:file_name`; `14:30:15.mp4` is a file's own name."""
    if camera in [name for video in videos for name in (video.stem, video.name)]:
        return camera, camera
    name, _, file_name = camera.partition(":")
    return name, file_name or name


def _chosen_track(folder: Path, videos: list[Path], camera: str, reader: type[VideoFile]) -> VideoTrack:
    name, wanted = _renamed(camera, videos)
    exact = [video for video in videos if wanted in (video.stem, video.name)]
    parts = exact or _parts(videos).get(wanted, [])
    if not parts:
        in_parts = {name for name, parts in _parts(videos).items() if len(parts) > 1}
        known = ", ".join(sorted({video.stem for video in videos} | in_parts))
        raise InputError(f"{folder}: no video of camera {wanted!r}; there are {known}; rename with NEW_NAME:file_name")
    if len(exact) > 1:
        raise InputError(f"{folder}: {len(exact)} videos are called {wanted!r}; give the name with its suffix")
    return _joined(name, parts, reader)


def _are_counted(videos: list[Path]) -> bool:
    """Whether files called NAME_<number> are numbered as parts are: without a gap, or from 0 or 1 with most there.

    Otherwise the numbers are times of day, dates or scene numbers, and each file is a camera of its own.
    """
    numbers = [number for video in videos if (number := _part_number(video)) is not None]
    span = numbers[-1] - numbers[0] + 1
    return len(numbers) > 1 and (span == len(numbers) or (numbers[0] <= 1 and span <= 2 * len(numbers)))


def _joined(camera: str, videos: list[Path], reader: type[VideoFile]) -> VideoTrack:
    numbers = [_part_number(video) for video in videos]
    for before, after in pairwise(numbers):
        if before is not None and after is not None and after != before + 1:
            raise InputError(
                f"{videos[0].parent}: camera {camera} has part {before} and part {after}, none between; add it,"
                " or name the videos that are cameras with cameras=[...]"
            )
    parts = tuple(reader(video) for video in videos)
    return VideoTrack(camera, parts, (False, *(_repeats(before, after) for before, after in pairwise(parts))))


def _repeats(before: VideoFile, after: VideoFile) -> bool:
    """Whether `after` begins with the last frame of `before`, seen against one frame of motion."""
    frames = len(before.index())
    if frames < 2:
        return False
    last_but_one, last = before.arrays([[frames - 2, frames - 1]], JOINT_SIZE)[0].astype(np.float64)
    first = after.arrays([[0]], JOINT_SIZE)[0][0].astype(np.float64)
    return bool(np.square(first - last).mean() < JOINT_RATIO * np.square(last - last_but_one).mean())


def _parts(videos: list[Path]) -> dict[str, list[Path]]:
    """Videos called NAME_<number>, by NAME, in the order of the numbers."""
    parts: dict[str, list[Path]] = {}
    for video in videos:
        if (name := _part_of(video)) is not None:
            parts.setdefault(name, []).append(video)
    return {name: sorted(those, key=lambda video: _part_number(video) or 0) for name, those in parts.items()}


def _part_of(video: Path) -> str | None:
    match = re.fullmatch(r"(.+)_(\d+)", video.stem)
    return match[1] if match else None


def _part_number(video: Path) -> int | None:
    match = re.fullmatch(r"(.+)_(\d+)", video.stem)
    return int(match[2]) if match else None
