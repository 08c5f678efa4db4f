"""Chunk pairs of a collection of videos: consecutive chunks of one shot, never across a cut (paper, section 4.1).

Legend: F observed frames, G future frames, C colours (3), H height, W width.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.datasets.openvid.files import VideoFiles
from worldmodel.datasets.openvid.indexed import IndexedDecord, IndexedVideo
from worldmodel.datasets.openvid.listing import VideoEntry
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.reading import dead_processes_named
from worldmodel.datasets.track import windows_in
from worldmodel.datasets.video.cuts import scene_cuts, shots
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.datasets.video.readers import reader_class
from worldmodel.errors import InputError

AHEAD = 4  # videos in flight per process while scanning


@dataclass
class VideoReport:
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
        counted = f"{self.videos} videos, {self.usable} usable with {self.pairs} pairs, {self.cuts} cuts"
        return f"{counted}; {lost or 'none left out'}"


@dataclass(frozen=True)
class Pair:
    """Where a pair lies: `video` counts the usable videos, `start` is its first frame."""

    video: int
    start: int


@dataclass(frozen=True)
class ListedVideo:
    """A video of a list that can be read. `cuts`: its frames that begin a new shot; none where it is too short."""

    source: VideoReader
    caption: str
    cuts: tuple[int, ...]

    def windows(self, length: int, stride: int) -> list[int]:
        """First frames of all windows of `length` frames, every `stride` frames of every shot."""
        runs = shots(len(self.source.index()), self.cuts)
        return [start for shot in runs for start in windows_in(shot, length, stride)]


class VideoPairs(Dataset[PixelPair]):
    """A sequence of `PixelPair`s of one camera each, read when asked. Made by `Collection.pairs`; pickles into workers.

    Attributes:
        videos: the usable ones. places: of the pairs. frames: observed and future. report: what was left out and why.
    """

    def __init__(
        self,
        videos: list[ListedVideo],
        places: list[Pair],
        frames: tuple[int, int],
        size: tuple[int, int],
        report: VideoReport,
    ) -> None:
        self.videos, self.places, self.frames, self.size, self.report = videos, places, frames, size, report

    @property
    def sources(self) -> list[VideoReader]:
        """The usable videos' files."""
        return [video.source for video in self.videos]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> PixelPair:
        """Frames of one pair at the video's own rate; one seek.

        Raises:
            InputError: a frame is damaged.
        """
        place = self.places[number]
        source, (observed, future) = self.videos[place.video].source, self.frames
        numbers = range(place.start, place.start + observed + future)
        video_FCHW = source.read(numbers, self.size)
        index = source.index()
        return PixelPair(
            scene=source.path.stem,
            cameras=(source.path.stem,),
            observed_NFCHW=video_FCHW[None, :observed],
            future_NGCHW=video_FCHW[None, observed:],
            times_s=index.times_s[None, numbers.start : numbers.stop],
            frame_rate=index.frame_rate,
        )

    def caption(self, number: int) -> str:
        """Text of the video that pair `number` comes from."""
        return self.videos[self.places[number].video].caption


class Collection:
    """The videos of a list, each opened and searched for cuts once, for pairs of any length. See `open_collection`.

    Attributes:
        videos: those that can be read, in the list's order. report: what was left out so far and why.
    """

    def __init__(self, videos: list[ListedVideo], report: VideoReport) -> None:
        self.videos, self.report = videos, report

    def pairs(
        self, observed_frames: int, future_frames: int, stride: int | None = None, size: tuple[int, int] = (256, 384)
    ) -> VideoPairs:
        """Cut every video into pairs of chunks of one length.

        Args:
            stride: frames between the starts of two pairs of a shot; None is one pair after another without overlap.
            size: (H, W), centre crop to this aspect.

        Raises:
            InputError: no pair in the whole list, or settings without sense.
        """
        length, step = _length_and_step(observed_frames, future_frames, stride)
        windows = [video.windows(length, step) for video in self.videos]
        used = [(video, starts) for video, starts in zip(self.videos, windows, strict=True) if starts]
        places = [Pair(number, start) for number, (_, starts) in enumerate(used) for start in starts]
        report = replace(
            self.report,
            usable=len(used),
            pairs=len(places),
            too_short=len(self.videos) - len(used),
            cuts=sum(len(video.cuts) for video in self.videos if len(video.source.index()) >= length),
        )
        if not places:
            raise InputError(f"no chunk pair of {length} frames: {report}; check the folders and archives")
        return VideoPairs([video for video, _ in used], places, (observed_frames, future_frames), size, report)


def open_collection(
    entries: Iterable[VideoEntry],
    files: VideoFiles,
    shortest: int,
    cache: str | Path | None = None,
    workers: int = 0,
    most: int | None = None,
    reader: str = "pyav",
) -> Collection:
    """Find, open and search for cuts every video of a list; each is decoded once, and with `cache` never again.

    Missing, unreadable and too short videos are left out and counted in `.report`.

    Args:
        shortest: frames of the shortest pair that will be asked for; videos with fewer are not decoded.
        cache: folder for what is found, two small files per video: cuts and frame index. With both there a video is
            not opened at all.
        workers: processes that scan; 0 is this one.
        most: stop after this many rows of the list.
        reader: what reads the frames of pairs; the cuts are always found by PyAV.

    Raises:
        MissingDependency: the reader is not installed.
    """
    reader_class(reader)
    folder = None if cache is None else Path(cache)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    scan = partial(_scan, shortest=shortest, cache=folder, reader=reader)
    report, videos = VideoReport(), []
    for entry, scanned in _scanned(scan, _located(islice(entries, most), files, report), workers):
        if isinstance(scanned, str):
            report.bad[entry.video] = scanned
        else:
            videos.append(ListedVideo(scanned[0], entry.caption, scanned[1]))
    return Collection(videos, report)


def _length_and_step(observed_frames: int, future_frames: int, stride: int | None) -> tuple[int, int]:
    length = observed_frames + future_frames
    step = length if stride is None else stride
    if observed_frames < 1 or future_frames < 1 or step < 1:
        raise InputError(
            f"observed_frames={observed_frames} future_frames={future_frames} stride={step}: use at least 1 of each"
        )
    return length, step


Scanned = tuple[VideoReader, tuple[int, ...]]  # the video and its cuts


def _located(
    entries: Iterable[VideoEntry], files: VideoFiles, report: VideoReport
) -> Iterator[tuple[VideoEntry, Path]]:
    files.check_archives()  # an archive that is not whole ends the list; a member that is not, only itself
    for entry in tqdm(entries, desc="videos", unit="video"):
        report.videos += 1
        try:
            path = files.find(entry.video)
        except InputError as error:
            report.bad[entry.video] = str(error)
            continue
        if path is None:
            report.missing.append(entry.video)
        else:
            yield entry, path


def _scanned(
    scan: Callable[[Path], Scanned | str], located: Iterator[tuple[VideoEntry, Path]], workers: int
) -> Iterator[tuple[VideoEntry, Scanned | str]]:
    """Results in the order of the list; with processes, only a few videos are ahead, so that a long list streams."""
    if workers == 0:
        yield from ((entry, scan(path)) for entry, path in located)
        return
    with dead_processes_named("data.workers=0"), ProcessPoolExecutor(workers) as pool:
        while group := list(islice(located, AHEAD * workers)):
            yield from zip((entry for entry, _ in group), pool.map(scan, (path for _, path in group)), strict=True)


def _scan(path: Path, shortest: int, cache: Path | None, reader: str) -> Scanned | str:
    """The video, its index found, and its cuts; or why it cannot be read."""
    kept = IndexedVideo if reader == "pyav" else IndexedDecord
    source = reader_class(reader)(path) if cache is None else kept(path, cache)
    try:
        return source, scene_cuts(source, cache) if len(source.index()) >= shortest else ()
    except InputError as error:
        return str(error)
