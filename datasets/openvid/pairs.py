"""Chunk pairs of a collection of videos: consecutive chunks of one shot, never across a cut (paper, section 4.1).

Legend: F observed frames, G future frames, C colours (3), H height, W width.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.datasets.clip import ChunkPair
from worldmodel.datasets.cuts import scene_cuts, shots
from worldmodel.datasets.openvid.files import VideoFiles
from worldmodel.datasets.openvid.listing import VideoEntry
from worldmodel.datasets.video import VideoSource
from worldmodel.errors import InputError

AHEAD = 4  # videos in flight per process while scanning


@dataclass
class Report:
    """What became of a list's videos.

    Attributes:
        videos: rows of the list. usable: videos that gave pairs. pairs: how many in all.
        missing: videos found nowhere. too_short: no shot is long enough for one pair. cuts: scene cuts found.
        bad: videos that cannot be read, with the reason.
    """

    videos: int = 0
    usable: int = 0
    pairs: int = 0
    missing: list[str] = field(default_factory=list)
    too_short: int = 0
    cuts: int = 0
    bad: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        left_out = Counter(missing=len(self.missing), too_short=self.too_short, unreadable=len(self.bad))
        lost = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in left_out.items() if count)
        found = f"{self.videos} videos, {self.usable} usable with {self.pairs} pairs, {self.cuts} cuts"
        return f"{found}; {lost or 'none left out'}"


@dataclass(frozen=True)
class Pair:
    """Where a pair lies: `video` counts the usable videos, `start` is its first frame."""

    video: int
    start: int


class VideoPairs(Dataset[ChunkPair]):
    """A sequence of `ChunkPair`s of one camera each, read when asked. Made by `video_pairs`; pickles into workers.

    Attributes:
        sources, captions: of the usable videos. places: of the pairs. report: what was left out and why.
    """

    def __init__(
        self, sources: list[VideoSource], captions: list[str], places: list[Pair], frames: tuple[int, int],
        size: tuple[int, int], report: Report,
    ) -> None:  # fmt: skip
        self.sources, self.captions, self.places = sources, captions, places
        self.frames, self.size, self.report = frames, size, report

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> ChunkPair:
        """Frames of one pair at the video's own rate; one seek.

        Raises:
            InputError: a frame is damaged.
        """
        place = self.places[number]
        source, (observed, future) = self.sources[place.video], self.frames
        numbers = range(place.start, place.start + observed + future)
        video_FCHW = source.read(numbers, self.size)
        index = source.index()
        return ChunkPair(
            scene=source.path.stem,
            cameras=(source.path.stem,),
            observed_NFCHW=video_FCHW[None, :observed],
            future_NGCHW=video_FCHW[None, observed:],
            times_s=index.times_s[None, numbers.start : numbers.stop],
            intrinsics=None,
            extrinsics=None,
            ego_poses=None,
            frame_rate=index.frame_rate,
        )

    def caption(self, number: int) -> str:
        """Text of the video that pair `number` comes from."""
        return self.captions[self.places[number].video]


def video_pairs(
    entries: Iterable[VideoEntry],
    files: VideoFiles,
    observed_frames: int = 17,
    future_frames: int = 17,
    stride: int | None = None,
    size: tuple[int, int] = (256, 384),
    cuts_cache: str | Path | None = None,
    workers: int = 0,
    most: int | None = None,
) -> VideoPairs:
    """Cut every video of a list into chunk pairs.

    Each video is decoded once to find its cuts; with `cuts_cache` the answer is kept. Missing, unreadable and too
    short videos are left out and counted in `.report`.

    Args:
        stride: frames between the starts of two pairs of a shot; None is one pair after another without overlap.
        size: (H, W), centre crop to this aspect.
        workers: processes that scan; 0 is this one.
        most: stop after this many rows of the list.

    Raises:
        InputError: no pair in the whole list, or settings without sense.
    """
    length = observed_frames + future_frames
    step = length if stride is None else stride
    if observed_frames < 1 or future_frames < 1 or step < 1:
        raise InputError(
            f"observed_frames={observed_frames} future_frames={future_frames} stride={step}: use at least 1 of each"
        )
    scan = partial(_scan, length=length, step=step, cache=None if cuts_cache is None else Path(cuts_cache))
    report, captions, places = Report(), [], []
    sources: list[VideoSource] = []
    for entry, scanned in _scanned(scan, _located(islice(entries, most), files, report), workers):
        if isinstance(scanned, str):
            report.bad[entry.video] = scanned
            continue
        source, starts, cuts = scanned
        report.cuts += cuts
        if not starts:
            report.too_short += 1
            continue
        places += [Pair(len(sources), start) for start in starts]
        sources.append(source)
        captions.append(entry.caption)
    report.usable, report.pairs = len(sources), len(places)
    if not places:
        raise InputError(f"no chunk pair of {length} frames: {report}; check the folders and archives")
    return VideoPairs(sources, captions, places, (observed_frames, future_frames), size, report)


Scan = Callable[[Path], "tuple[VideoSource, list[int], int] | str"]


def _located(entries: Iterable[VideoEntry], files: VideoFiles, report: Report) -> Iterator[tuple[VideoEntry, Path]]:
    for entry in tqdm(entries, desc="videos", unit="video"):
        report.videos += 1
        path = files.find(entry.video)
        if path is None:
            report.missing.append(entry.video)
        else:
            yield entry, path


def _scanned(
    scan: Scan, located: Iterator[tuple[VideoEntry, Path]], workers: int
) -> Iterator[tuple[VideoEntry, "tuple[VideoSource, list[int], int] | str"]]:
    """Results in the order of the list; with processes, only a few videos are ahead, so that a long list streams."""
    if workers == 0:
        yield from ((entry, scan(path)) for entry, path in located)
        return
    with ProcessPoolExecutor(workers) as pool:
        while group := list(islice(located, AHEAD * workers)):
            yield from zip((entry for entry, _ in group), pool.map(scan, (path for _, path in group)), strict=True)


def _scan(path: Path, length: int, step: int, cache: Path | None) -> tuple[VideoSource, list[int], int] | str:
    """The video, the first frames of its pairs and its number of cuts; or why it cannot be read."""
    source = VideoSource(path)
    try:
        frames = len(source.index())
        cuts = scene_cuts(source, cache) if frames >= length else ()
    except InputError as error:
        return str(error)
    starts = [start for shot in shots(frames, cuts) for start in range(shot.start, shot.stop - length + 1, step)]
    return source, starts, len(cuts)
