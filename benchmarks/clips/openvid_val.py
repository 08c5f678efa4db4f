"""`openvid-val@1`: 2,000 videos of OpenVid, drawn from its published CSV. Its card is openvid_val.md."""

import heapq
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worldmodel.benchmarks.clips.clip_list import Clip, ClipList, View, rank
from worldmodel.datasets.openvid import VideoEntry, read_list
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.verb import ClipsConfig

LABEL, SEED = "openvid-val@1", 0
FRAMES, KEPT = 34, 2000
RULE = """OpenVid's CSV, every video once, those whose column `frame` says 34 or more. The 2,000 of lowest sha256 of
"openvid-val@1/0/" and the video's name. Of each the middle 34 frames, by that column: from (frame - 34) // 2 on, at the
video's own rate. Sorted by name."""


def build(config: "ClipsConfig") -> ClipList:
    """The list of one CSV, read once from front to back and never held whole.

    Raises:
        InputError: no CSV is given, it has no column `frame` or a cell of it is no number, or no video is long enough.
    """
    if not config.csv:
        raise InputError("csv is not given: openvid-val is drawn from OpenVid's published CSV, csv=OpenVid-1M.csv")
    frames = config.frames or FRAMES
    kept, rows, usable = _drawn(read_list(config.csv), frames)
    if not kept:
        raise InputError(f"{config.csv}: none of {rows} videos has {frames} frames; ask for fewer frames")
    return ClipList(
        name="openvid-val",
        version=1,
        rule=" ".join(RULE.split()),
        expected=KEPT,
        frames=frames,
        observed_frames=17,
        frame_rate=None,
        tables="",
        clips=tuple(_clip(entry, total, frames) for entry, total in sorted(kept, key=lambda pair: pair[0].video)),
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
        place = (-int(rank(LABEL, SEED, entry.video), 16), entry.video)
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
        said = "no column 'frame'" if cell is None else f"frame {cell!r} is no number"
        raise InputError(f"{LABEL}: {entry.video}: {said}; give OpenVid's published CSV") from None


def _clip(entry: VideoEntry, total: int, frames: int) -> Clip:
    start, name = (total - frames) // 2, PurePosixPath(entry.video).stem
    numbers = range(start, start + frames)
    return Clip(name, (View("video", tuple(f"{entry.video}#{number}" for number in numbers)),), None, entry.caption)
