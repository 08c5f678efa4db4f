"""Scene cuts of a video by colour histogram (paper, section 4.1), so that no chunk pair spans one.

The histogram counts the decoder's own Y, U, V values (16 x 8 x 8 cells) of every fourth chroma sample: no colour
conversion, no resize. A frame begins a new shot where its histogram is far from the last one's, far against the frames
around it (fast motion is far everywhere), and the picture does not come back at once (a flash, a damaged frame).
Dissolves and fades are found by small grey pictures: see `dissolves`.

Legend: F frames of the file, in display order and numbered as in its index.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product, repeat
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float32, UInt8

from worldmodel.datasets.resize import plane_HW
from worldmodel.datasets.video.decode import decoded, trusted
from worldmodel.datasets.video.dissolves import DissolveRule, dissolves
from worldmodel.datasets.video.file import strange_errors
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError
from worldmodel.files import kept

SAMPLE = 4  # every fourth chroma sample each way
SMALL = (18, 32)  # height and width of the small pictures, about
NEAR = 2  # encoders blend the last frame before a cut: of two jumps this near the larger is the cut
VERSION = 3  # of the histogram and the rule; part of every cached file's name


def _cells(count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 values the cell below and above it, and how near each is: two arrays [2, 256]."""
    place = np.clip((np.arange(256) + 0.5) * count / 256 - 0.5, 0, count - 1)
    below = np.floor(place).astype(np.int64)
    return np.stack([below, np.minimum(below + 1, count - 1)]), np.stack([1 - place % 1, place % 1])


CELLS_16, CELLS_8 = _cells(16), _cells(8)


@dataclass(frozen=True)
class CutRule:
    """When a frame begins a new shot. Distances are total variation, 0 (same colours) to 1 (none in common).

    The defaults did best, by the worst case, on splices of real videos that have no cuts of their own: at full speed,
    three times as fast, with every picture held for two or three frames, and in shots of 5 to 12 frames
    (`benchmarks/studies/scene_cuts.py`).

    Attributes:
        distance: least distance from the frame before.
        ratio: least factor over the third largest distance around it. Not over the median, which is 0 where an
            animation holds its pictures for three frames; not over the largest two, which may be cuts themselves.
        around: how many frames before and after count as around.
        returning: a picture that is this near again two frames on, as a fraction of the jump, was a flash.
        dissolve: what else ends a shot.
    """

    distance: float = 0.12
    ratio: float = 3.0
    around: int = 8
    returning: float = 0.5
    dissolve: DissolveRule = DissolveRule()


class Look(NamedTuple):
    """What is kept of a frame: its colours, and a small grey picture."""

    shares: Float32[np.ndarray, "1024"]
    small_HW: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Distances:
    """Of every frame from the frame before, and from the one before that; 0 where there is none."""

    one_F: Float32[np.ndarray, " F"]
    two_F: Float32[np.ndarray, " F"]


def scene_cuts(source: VideoReader, cache: Path | None = None, rule: CutRule | None = None) -> tuple[int, ...]:
    """Numbers of the frames that begin a new shot, the very first left out.

    A dissolve or a fade counts as a shot of its own: no pair of chunks that is longer has it in it.

    Args:
        cache: folder for one small JSON file per video, keyed by its path, size, time of change and `rule`.

    Raises:
        InputError: the video cannot be opened or decoded.
    """
    rule = rule or CutRule()
    about = {"video": str(source.path), "rule": asdict(rule)}
    return kept(
        cache / f"{_key(source.path, rule)}.json" if cache else None,
        read=lambda path: tuple(json.loads(path.read_text())["cuts"]),
        make=lambda: shot_starts(list(looks(source)), rule),
        write=lambda path, cuts: path.write_text(json.dumps(about | {"cuts": cuts})),
    )


def shots(frames: int, cuts: tuple[int, ...]) -> list[range]:
    """The runs of frames between the cuts."""
    edges = [0, *cuts, frames]
    return [range(first, last) for first, last in zip(edges[:-1], edges[1:], strict=True)]


def shot_starts(looks: Sequence[Look], rule: CutRule) -> tuple[int, ...]:
    """Frames that begin a shot, a dissolve or a fade, from the looks of all frames."""
    hard = cuts_of(compared(look.shares for look in looks), rule)
    rows, columns = (min(look.small_HW.shape[axis] for look in looks) for axis in (0, 1))  # a video's size may change
    small_FHW = np.stack([look.small_HW[:rows, :columns] for look in looks])
    gradual = dissolves(small_FHW, hard, rule.dissolve)
    edges = {frame for stretch in gradual for frame in (stretch.start, stretch.stop)}
    return tuple(sorted({*hard, *edges} - {0, len(looks)}))


def cuts_of(distances: Distances, rule: CutRule) -> tuple[int, ...]:
    """Frames that `rule` calls the first of a shot; dissolves are not looked for."""
    one, two = distances.one_F, distances.two_F
    return tuple(
        frame
        for frame in np.flatnonzero(one >= rule.distance).tolist()
        if one[frame] == one[max(0, frame - NEAR) : frame + NEAR + 1].max()
        and one[frame] >= rule.ratio * _motion_around(one, frame, rule.around)
        and not _returns(one, two, frame, rule.returning)
    )


def distances(source: VideoReader) -> Distances:
    """Compare neighbours through the whole file, decoded once; frames are numbered as in `source.index()`.

    A frame that the decoder lost, or that cannot be trusted after damage, counts as equal to the frame before: a cut
    in such a stretch is found at the first sound frame after it.

    Raises:
        InputError: the video cannot be opened, or no frame of it can be decoded.
    """
    return compared(histograms(source))


def compared(shares: Iterable[Float32[np.ndarray, "1024"]]) -> Distances:
    """Distances of successive histograms."""
    one, two = [], []
    last: deque[np.ndarray] = deque(maxlen=2)
    for here in shares:
        one.append(_distance(here, last[-1]) if last else 0.0)
        two.append(_distance(here, last[0]) if len(last) == 2 else 0.0)
        last.append(here)
    return Distances(np.array(one, np.float32), np.array(two, np.float32))


def histograms(source: VideoReader) -> Iterator[Float32[np.ndarray, "1024"]]:
    """One for every frame of the index; for a lost frame that of the last sound one."""
    return (look.shares for look in looks(source))


def looks(source: VideoReader) -> Iterator[Look]:
    """The look of every frame of the index; of a lost frame that of the last sound one.

    Raises:
        InputError: the video cannot be opened, or no frame of it can be decoded.
    """
    index = source.index()
    number_of = {int(stamp): number for number, stamp in enumerate(index.pts)}
    given, last = 0, None
    with strange_errors(source.path), source.open_container() as container:
        stream = source.video_stream(container)
        frames = decoded(container.demux(stream), stream)
        for stamp, frame, sound in trusted(frames, index):
            number = number_of.get(stamp, -1)
            if number < given or not sound:
                continue
            here = look_of(frame)
            yield from repeat(here if last is None else last, number - given)
            yield here
            given, last = number + 1, here
    if last is None:
        raise InputError(f"{source.path}: no frame of it can be decoded; copy it again or take it out")
    yield from repeat(last, len(index) - given)


def look_of(frame: av.VideoFrame) -> Look:
    """Histogram and small picture of a decoded frame."""
    planar = frame if frame.format.name in ("yuv420p", "yuvj420p") else frame.reformat(format="yuv420p")
    y, u, v = (plane_HW(plane) for plane in planar.planes[:3])
    return Look(histogram(y, u, v), small_picture(y))


def small_picture(y: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """About 18 x 32 means over blocks of some of the pixels."""
    step = max(1, y.shape[0] // (4 * SMALL[0]))
    some = y[::step, ::step]
    down, across = (max(1, have // want) for have, want in zip(some.shape, SMALL, strict=True))
    rows, columns = some.shape[0] // down, some.shape[1] // across
    blocks = some[: rows * down, : columns * across].reshape(rows, down, columns, across)
    means: np.ndarray = blocks.mean((1, 3)).astype(np.uint8)
    return means


def histogram(
    y: UInt8[np.ndarray, "H W"], u: UInt8[np.ndarray, "h w"], v: UInt8[np.ndarray, "h w"]
) -> Float32[np.ndarray, "1024"]:
    """Share of the sampled pixels in each cell of Y (16), U (8), V (8).

    Every pixel is shared among the cells around it by how near they are, so that a flat colour that fades moves
    gradually from cell to cell.
    """
    u, v = u[::SAMPLE, ::SAMPLE], v[::SAMPLE, ::SAMPLE]
    y = y[:: 2 * SAMPLE, :: 2 * SAMPLE][: u.shape[0], : u.shape[1]]
    counts = np.zeros(1024)
    for corner in product((0, 1), repeat=3):
        (y_at, y_near), (u_at, u_near), (v_at, v_near) = (
            (cells[upper][plane.ravel()], near[upper][plane.ravel()])
            for plane, (cells, near), upper in zip((y, u, v), (CELLS_16, CELLS_8, CELLS_8), corner, strict=True)
        )
        counts += np.bincount(y_at * 64 + u_at * 8 + v_at, y_near * u_near * v_near, minlength=1024)
    return (counts / y.size).astype(np.float32)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).sum() / 2)


def _motion_around(one: np.ndarray, frame: int, around: int) -> float:
    neighbours = np.sort(np.concatenate([one[max(1, frame - around) : frame], one[frame + 1 : frame + 1 + around]]))
    return float(neighbours[-3:][0]) if len(neighbours) else 0.0


def _returns(one: np.ndarray, two: np.ndarray, frame: int, share: float) -> bool:
    """The frame after looks like the one before, or this one like the last but one."""
    nearest = min((two[at] for at in (frame, frame + 1) if 2 <= at < len(two)), default=1.0)
    return bool(nearest < share * one[frame])


def _key(path: Path, rule: CutRule) -> str:
    state = path.stat() if path.is_file() else None
    identity = [str(path.resolve()), state and state.st_size, state and state.st_mtime_ns, VERSION, asdict(rule)]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
