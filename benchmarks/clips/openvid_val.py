"""`openvid-val@2`: the first frames of 2,000 videos of OpenVid, drawn from its published CSV. See openvid_val.md.

Published are where in a video the frames are taken and how many; not which videos, so the draw is our own and the same
as in version 1, which took the middle frames.
"""

import heapq
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worldmodel.benchmarks.clips.clip_list import Clip, ClipList, View, rank
from worldmodel.datasets.openvid import VideoEntry, read_list
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.registry import ClipsConfig

DRAW, SEED = "openvid-val@1", 0  # version 2 has the videos of version 1
FRAMES, KEPT = 34, 2000
DRAWN = """OpenVid's CSV, every video once, those whose column `frame` says 34 or more. The 2,000 of lowest sha256 of
"openvid-val@1/0/" and the video's name."""
RULES = {
    1: """Of each the middle 34 frames, by that column: from (frame - 34) // 2 on, at the video's own rate.""",
    2: """Of each the first 34 frames, at the video's own rate.""",
}


def build(config: "ClipsConfig") -> ClipList:
    """The list of one CSV, read once from front to back and never held whole.

    Raises:
        InputError: no CSV is given, it has no column `frame` or a cell of it is no number, or no video is long enough.
    """
    return _build(config, 2)


def build_1(config: "ClipsConfig") -> ClipList:
    """Version 1: the middle frames of the same videos."""
    return _build(config, 1)


def _build(config: "ClipsConfig", version: int) -> ClipList:
    if not config.csv:
        raise InputError("csv is not given: openvid-val is drawn from OpenVid's published CSV, csv=OpenVid-1M.csv")
    frames = config.frames or FRAMES
    kept, rows, usable = _drawn(read_list(config.csv), frames)
    if not kept:
        raise InputError(f"{config.csv}: none of {rows} videos has {frames} frames; ask for fewer frames")
    first = {entry.video: (total - frames) // 2 if version == 1 else 0 for entry, total in kept}
    videos = sorted((entry for entry, _ in kept), key=lambda entry: entry.video)
    return ClipList(
        name="openvid-val",
        version=version,
        rule=" ".join(f"{DRAWN} {RULES[version]} Sorted by name.".split()),
        expected=KEPT,
        frames=frames,
        observed_frames=17,
        frame_rate=None,
        tables="",
        clips=tuple(_clip(entry, first[entry.video], frames) for entry in videos),
        notes=(f"{rows} rows, {usable} with at least {frames} frames",),
    )


def _drawn(entries: Iterable[VideoEntry], frames: int) -> tuple[list[tuple[VideoEntry, int]], int, int]:
    """The videos of lowest rank with their lengths, how many rows there were, and how many were long enough."""
    worst_first: list[tuple[int, str]] = []
    kept: dict[str, tuple[VideoEntry, int]] = {}
    rows = usable = 0
    for entry in entries:
        rows, total = rows + 1, _frames_of(entry)
        if total < frames:
            continue
        usable += 1
        place = (-int(rank(DRAW, SEED, entry.video), 16), entry.video)
        if entry.video in kept or (len(kept) == KEPT and place < worst_first[0]):
            continue
        kept[entry.video] = (entry, total)
        heapq.heappush(worst_first, place)
        if len(kept) > KEPT:
            del kept[heapq.heappop(worst_first)[1]]
    return list(kept.values()), rows, usable


def _frames_of(entry: VideoEntry) -> int:
    cell = next((value for name, value in entry.facts.items() if name.strip().lower() in ("frame", "frames")), None)
    try:
        return int(float(cell or ""))
    except (ValueError, OverflowError):
        reason = "no column 'frame'" if cell is None else f"frame {cell!r} is no number"
        raise InputError(f"openvid-val: {entry.video}: {reason}; give OpenVid's published CSV") from None


def _clip(entry: VideoEntry, first: int, frames: int) -> Clip:
    named = tuple(f"{entry.video}#{number}" for number in range(first, first + frames))
    return Clip(PurePosixPath(entry.video).stem, (View("video", named),), None, entry.caption)
