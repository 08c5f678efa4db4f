"""Frames of a video file by time stamp: an index without decoding, and frame-exact reading.

Legend: F frames, C colours (3), H height, W width. Frames are numbered 0 .. F-1 in display order.

What the pictures are: rotation metadata is applied; pixels that are not square are stretched in width to square
ones; colours follow the file's tags, and FFmpeg's BT.601 where it has none. An interlaced frame comes as it is
stored, both fields woven into one picture: moving edges show combs, nothing is deinterlaced. A mirror in the
rotation tag is not applied.

Why PyAV with our own seeking: naive seeking gave wrong frames on open groups of pictures and on variable frame
rates. Here decoding begins exactly at the last key frame at or before the target, and a frame counts only if its
time stamp is the one in the index. No Python log callback is ever set and containers are closed explicitly: with a
callback, PyAV has been seen to deadlock when a codec is freed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, dropwhile, takewhile
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from worldmodel.datasets.video_frames import Filling, decoded, trusted
from worldmodel.errors import InputError

Numbers = Sequence[int] | range | np.ndarray


@dataclass(frozen=True)
class VideoIndex:
    """What the packets say, in display order, frames hidden by an edit list left out.

    `times_s` are the container's own times in seconds (they need not begin at 0), `keys` marks frames that decode
    alone, `pts`/`dts` are the stamps in the stream's time base. A stream without time stamps (raw H.264) has `pts`
    0 .. F-1 and `stamped` False: it is read by counting from its beginning.
    """

    times_s: Float64[np.ndarray, " F"]
    keys: Bool[np.ndarray, " F"]
    pts: Int64[np.ndarray, " F"]
    dts: Int64[np.ndarray, " F"]
    stamped: bool

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def frame_rate(self) -> float:
        """Frames per second, with dropped frames and rounded time stamps (WebM) evened out; 0.0 for one."""
        if len(self) < 2:
            return 0.0
        steps_s = np.diff(self.times_s)
        return float(1.0 / steps_s[steps_s < 1.5 * np.median(steps_s)].mean())


@runtime_checkable
class VideoReader(Protocol):
    """What every way to read a video offers: see `VideoSource`."""

    path: Path

    def index(self) -> VideoIndex: ...

    def read(self, frames: Numbers, size: tuple[int, int] | None = None) -> UInt8[Tensor, "F 3 H W"]: ...

    def read_spans(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[Tensor]: ...


def open_video(path: str | Path, reader: str = "pyav", threads: int = 1) -> VideoReader:
    """One video file, read by `pyav` or by `decord`. Nothing is opened yet.

    Raises:
        InputError: another reader's name, or decord is not installed.
    """
    if reader == "pyav":
        return VideoSource(path, threads)
    if reader == "decord":
        from worldmodel.datasets.decord_video import DecordSource

        return DecordSource(path, threads)
    raise InputError(f"reader={reader!r} is unknown; use pyav or decord")


class VideoSource:
    """One video file. Holds no open file, so that it pickles into worker processes.

    Args:
        path: the file. Anything FFmpeg demuxes; only its first video stream is read.
        threads: decoder threads; 1 suits many worker processes.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        self.threads = threads
        self._index: VideoIndex | None = None

    def index(self) -> VideoIndex:
        """Time stamps and key flags, from the packets alone (kept after the first call).

        Raises:
            InputError: missing, empty, not a video, truncated, no video stream, or no frame.
        """
        if self._index is None:
            with self.open_container() as container:
                self._index = self._scan(container)
        return self._index

    def read(self, frames: Numbers, size: tuple[int, int] | None = None) -> UInt8[Tensor, "F 3 H W"]:
        """The frames of these numbers, in the order asked for, repeats allowed.

        Args:
            frames: numbers into `index()`.
            size: (H, W) to centre-crop to and scale to (area averaging down, bicubic up); None keeps the display size.

        Raises:
            InputError: a number outside the file, or a frame that the decoder lost or reported as damaged, or that
                depends on a damaged one. Wrong pictures are never handed out knowingly.
        """
        return self.read_spans([frames], size)[0]

    def read_spans(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[Tensor]:
        """Several runs of frames with the file opened once: a list of UInt8 [F, 3, H, W], in the order asked for.

        The file is gone through once from front to back, with a seek only where it saves decoding; frames that
        several spans ask for are decoded once. Every span has memory of its own. Otherwise as `read`.
        """
        with self.open_container() as container:
            at_end = self._index is None  # after the scan; a stream without time stamps cannot be wound back
            self._index = self._index or self._scan(container)
            filling = Filling(asked(self.path, spans, len(self._index)), size, self.path)
            if self._index.stamped or not at_end:
                return self._filled(container, filling)
        with self.open_container() as container:
            return self._filled(container, filling)

    def open_container(self) -> av.container.InputContainer:
        """The file, opened by PyAV, its decoder set to `threads`; close it after use (`with`).

        Raises:
            InputError: missing, empty, not a video, truncated, or no video stream.
        """
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such video file; check the path")
        if self.path.stat().st_size == 0:
            raise InputError(f"{self.path}: empty file (0 bytes); copy it again or take it out")
        try:
            container = av.open(str(self.path), options=_probing(self.path))
        except av.FFmpegError as error:
            raise InputError(
                f"{self.path}: not a readable video, or cut off before its index ({error.strerror}); copy it again"
            ) from error
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            container.close()
            raise InputError(f"{self.path}: no video stream, only {kinds or 'nothing'}; give a file with pictures")
        container.streams.video[0].codec_context.thread_count = self.threads
        return container

    def _scan(self, container: av.container.InputContainer) -> VideoIndex:
        stream = container.streams.video[0]
        try:
            packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
        except av.FFmpegError as error:
            raise InputError(f"{self.path}: damaged, no packets to read ({error.strerror}); copy it again") from error
        if not packets:
            raise InputError(f"{self.path}: has a video stream but no frame; re-export it or take it out")
        stamps = [(p.pts, p.dts, p.is_keyframe) for p in packets if p.pts is not None]
        if len(stamps) < len(packets) or stream.time_base is None:
            rate = stream.guessed_rate or stream.average_rate
            return counted_index([p.is_keyframe for p in packets], float(rate or 25))
        return stamped_index(
            [(pts, pts if dts is None else dts, key) for pts, dts, key in stamps], float(stream.time_base)
        )

    def _filled(self, container: av.container.InputContainer, filling: Filling) -> list[Tensor]:
        index = self.index()
        for run in seek_runs(filling.places, index.keys):
            lost = self._read_run(container, run, filling)
            if lost is not None:
                when = f"frame {lost} (at {index.times_s[lost]:.3f} s)"
                raise InputError(f"{self.path}: {when} is damaged; read other frames or re-export it")
        return filling.videos

    def _read_run(self, container: av.container.InputContainer, run: list[int], filling: Filling) -> int | None:
        """Frames of one seek; the number of the first that is lost. A key frame that the container flagged wrongly
        shows as an unusable first frame: then the decoding starts one key frame earlier, once."""
        keys = np.flatnonzero(self.index().keys[: run[0] + 1])
        starts = [int(key) for key in keys[-2:][::-1]] if self.index().stamped else []
        found: set[int] = set()
        for start in starts or [0]:
            found = set(self._decode(container, start, run, filling))
            if len(found) == len(run):
                return None
        return next(frame for frame in run if frame not in found)

    def _decode(
        self, container: av.container.InputContainer, start: int, run: list[int], filling: Filling
    ) -> Iterator[int]:
        index, stream = self.index(), container.streams.video[0]
        number_of = {int(index.pts[frame]): frame for frame in run}
        packets: Iterator[av.Packet] = container.demux(stream)
        if index.stamped:
            stamps = dict.fromkeys((int(index.pts[start]), int(index.dts[start])))
            packets = packets_from(container, stream, list(stamps), bool(index.keys[start]))
            last = int(index.dts[run].max())  # no frame of the run needs what is decoded later
            packets = takewhile(lambda packet: packet.dts is None or packet.dts <= last, packets)
        shown = decoded(packets, stream, set(number_of) if index.stamped else None)
        key_stamps = set(index.pts[index.keys].tolist())
        for stamp, frame, sound in trusted(shown, int(index.pts[start]), key_stamps, index.stamped):
            number = number_of.get(stamp)
            if number is not None and not sound:
                break
            if number is not None:
                filling.put(number, frame, stream)
                yield number
            if stamp >= index.pts[run[-1]]:
                break


def _probing(path: Path) -> dict[str, str]:
    """Options of opening. An MP4 says what is needed to decode it; FFmpeg would decode its first picture all the same,
    which on short reads costs a twentieth."""
    with path.open("rb") as file:
        return {"skip_frame": "all"} if file.read(8)[4:] == b"ftyp" else {}


def asked(path: Path, spans: Sequence[Numbers], frames: int) -> list[list[int]]:
    """Frame numbers of every span, each checked against the number of frames in the file."""
    wanted = [[int(frame) for frame in span] for span in spans]
    for span in wanted:
        if not span:
            raise InputError(f"{path}: no frame asked for; give at least one number")
        for frame in span:
            if not 0 <= frame < frames:
                raise InputError(f"{path}: frame {frame} asked for, the video has 0 to {frames - 1}")
    return wanted


def packets_from(
    container: av.container.InputContainer, stream: av.VideoStream, stamps: list[int], key: bool
) -> Iterator[av.Packet]:
    """Packets from the one that is shown at `stamps[0]` on; none if the container cannot seek there.

    MP4 seeks by display time, most others by decoding time; the two are tried in turn. The display time comes first:
    an MP4 asked for the decoding time, which is the earlier, goes back a whole group of pictures too far. Where a seek
    ends early, what lies before a key frame is dropped undecoded; before any other frame it is kept, as an edit list
    may have hidden the key frame.
    """
    for stamp in stamps:
        try:
            container.seek(stamp, stream=stream, backward=True)
        except av.FFmpegError:
            continue
        packets = container.demux(stream)
        if key:
            packets = dropwhile(lambda packet: packet.pts != stamps[0] or packet.is_discard, packets)
        first = next(packets, None)
        if first is not None:
            return chain([first], packets)
    return iter(())


def seek_runs(wanted: Iterable[int], keys: Bool[np.ndarray, " F"]) -> list[list[int]]:
    """Sorted frame numbers, cut where a key frame lets the decoder jump over frames nobody asked for."""
    key_numbers = np.flatnonzero(keys)
    runs: list[list[int]] = []
    for frame in sorted(set(wanted)):
        key = key_numbers[np.searchsorted(key_numbers, frame, side="right") - 1] if len(key_numbers) else 0
        if runs and key <= runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def stamped_index(packets: list[tuple[int, int, bool]], time_base_s: float) -> VideoIndex:
    """Index from (pts, dts, key) of every packet, in any order."""
    pts, first = np.unique(np.array([packet[0] for packet in packets], np.int64), return_index=True)
    dts = np.array([packet[1] for packet in packets], np.int64)[first]
    keys = np.array([packet[2] for packet in packets], bool)[first]
    return VideoIndex(pts * time_base_s, keys, pts, dts, stamped=True)


def counted_index(keys: list[bool], frame_rate: float) -> VideoIndex:
    """Index of a stream without time stamps: frames at even distances of its nominal rate."""
    numbers = np.arange(len(keys), dtype=np.int64)
    only_first = numbers == 0  # its packets do not tell display order, so nothing can be sought
    return VideoIndex(numbers / frame_rate, only_first, numbers, numbers, stamped=False)
