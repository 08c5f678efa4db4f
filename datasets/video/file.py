"""Frames of a video file by time stamp: an index without decoding, and frame-exact reading.

Legend: F frames, C colours (3), H height, W width. Frames are numbered 0 .. F-1 in display order. The runtime without
torch reads through this module as well: nothing but numpy and PyAV is imported.

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
from contextlib import contextmanager
from itertools import chain, dropwhile, islice, takewhile
from pathlib import Path
from typing import Any

import av
import numpy as np

from worldmodel.datasets.video.decode import Filling, decoded, trusted
from worldmodel.datasets.video.index import (
    Packets,
    VideoIndex,
    VideoPacket,
    counted_index,
    frames_of,
    goes_back,
    numbered,
    scanned,
    stamped_index,
)
from worldmodel.errors import InputError, whole_message
from worldmodel.files import media_url

Numbers = Sequence[int] | range | np.ndarray
WITHOUT_TIMES = 0x80  # FFmpeg's AVFMT_NOTIMESTAMPS: raw streams, whose stamps are guesses that seeking changes
PEEKED = 100  # frames in which B pictures show themselves


class VideoFile:
    """The video in one file. Holds no open file, so that it pickles into worker processes.

    Args:
        path: the file. Anything FFmpeg demuxes; of several video streams the one that `scanned` chooses.
        threads: decoder threads; 1 suits many worker processes.
        until_s: seconds from the beginning after which nothing will be asked for; the rest is not looked at.
    """

    def __init__(self, path: str | Path, threads: int = 1, until_s: float = float("inf")) -> None:
        self.path = Path(path)
        self.threads, self.until_s = threads, until_s
        self._index: VideoIndex | None = None

    def index(self) -> VideoIndex:
        """Time stamps and key flags (kept after the first call), from the packets alone where they tell them.

        Raises:
            InputError: missing, empty, not a video, truncated, no video stream, no frame, or times without sense.
        """
        if self._index is None:
            with strange_errors(self.path), self.open_container() as container:
                self._index = self._found(container)
        return self._index

    def arrays(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[np.ndarray]:
        """Several runs of frames with the file opened once: a list of uint8 [F, 3, H, W], in the order asked for.

        The file is gone through once from front to back, with a seek only where it saves decoding; frames that
        several spans ask for are decoded once. Every span has memory of its own.

        Args:
            spans: numbers into `index()`.
            size: (H, W) to centre-crop to and scale to (area averaging down, bicubic up); None keeps the display size.

        Raises:
            InputError: a number outside the file, or a frame that the decoder lost or reported as damaged, or that
                depends on a damaged one. Wrong pictures are never handed out knowingly.
        """
        with strange_errors(self.path):
            return self._arrays(spans, size)

    def _arrays(self, spans: Sequence[Numbers], size: tuple[int, int] | None) -> list[np.ndarray]:
        with self.open_container() as container:
            at_end = self._index is None  # after the scan; a stream without time stamps cannot be wound back
            self._index = index = self._index or self._found(container)
            filling = Filling(asked(self.path, spans, len(index)), size, self.path)
            if index.stamped or not at_end:
                return self._filled(container, filling)
        with self.open_container() as container:
            return self._filled(container, filling)

    def open_container(self) -> av.container.InputContainer:
        """The file, opened by PyAV; close it after use (`with`).

        Raises:
            InputError: missing, empty, not a video, or truncated.
        """
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such video file; check the path")
        if self.path.stat().st_size == 0:
            raise InputError(f"{self.path}: empty file (0 bytes); copy it again or take it out")
        try:
            # a title in another encoding than UTF-8 is no reason to refuse a video
            return av.open(media_url(self.path), options=_probing(self.path), metadata_errors="replace")
        except av.FFmpegError as error:
            raise InputError(
                f"{self.path}: not a readable video, or cut off before its index ({error.strerror}); copy it again"
            ) from error

    def video_stream(self, container: av.container.InputContainer) -> av.VideoStream:
        """The stream of the video in the file just opened, its decoder set to `threads`."""
        stream = numbered(container, self.index().stream)
        stream.codec_context.thread_count = self.threads
        return stream

    def _found(self, container: av.container.InputContainer) -> VideoIndex:
        stream, packets = scanned(container, self.path, self.until_s)
        if packets.tell_display and not container.format.flags & WITHOUT_TIMES:
            may_be_decoding_times = packets.rise and stream.codec_context.has_b_frames
            if not may_be_decoding_times or not goes_back(self._shown(stream.index, packets, PEEKED)):
                return stamped_index(packets, stream, self.path)
        stamps = self._shown(stream.index, packets)
        if not stamps:
            raise InputError(f"{self.path}: no frame of it can be decoded; copy it again or take it out")
        return counted_index(stamps, packets, stream, self.path)

    def _shown(self, number: int, packets: Packets, most: int | None = None) -> list[int | None]:
        """Stamps of the video's frames as they come from the decoder, of as many packets as were looked at."""
        with self.open_container() as container:
            stream = numbered(container, number)
            stream.codec_context.thread_count = self.threads
            full = (packet for packet in container.demux(stream) if packet.size)
            some = None if self.until_s == float("inf") else len(packets)
            return frames_of(decoded(islice(full, some), stream), most)

    def _filled(self, container: av.container.InputContainer, filling: Filling) -> list[np.ndarray]:
        index, stream = self.index(), self.video_stream(container)
        for run in seek_runs(filling.places, index.keys):
            lost = self._read_run(stream, run, filling)
            if lost is not None:
                when = f"frame {lost} (at {index.times_s[lost]:.3f} s)"
                raise InputError(f"{self.path}: {when} is damaged or out of order; read other frames or re-export it")
        return filling.videos

    def _read_run(self, stream: av.VideoStream, run: list[int], filling: Filling) -> int | None:
        """Frames of one seek; the number of the first that is lost. A key frame that the container flagged wrongly
        shows as an unusable first frame: then the decoding starts one key frame earlier, once."""
        keys = np.flatnonzero(self.index().keys[: run[0] + 1])
        starts = [int(key) for key in keys[-2:][::-1]] if self.index().stamped else []
        read: set[int] = set()
        for start in starts or [0]:
            read = set(self._decode(stream, start, run, filling))
            if len(read) == len(run):
                return None
        return next(frame for frame in run if frame not in read)

    def _decode(self, stream: av.VideoStream, start: int, run: list[int], filling: Filling) -> Iterator[int]:
        index = self.index()
        container: Any = stream.container  # of its two kinds the one for reading
        doubtful = index.rises and container.format.name == "avi"  # the next picture shows whether this one is in order
        number_of = {int(index.pts[frame]): frame for frame in run}
        packets: Iterator[VideoPacket] = container.demux(stream)
        if index.stamped:
            stamps = dict.fromkeys((int(index.pts[start]), int(index.dts[start])))
            packets = packets_from(container, stream, list(stamps), bool(index.keys[start]))
        if index.stamped and not doubtful:
            last = int(index.dts[run].max())  # no frame of the run needs what is decoded later
            packets = takewhile(lambda packet: packet.dts is None or packet.dts <= last, packets)
        frames = decoded(packets, stream, set(number_of) if index.stamped else None)
        for stamp, frame, sound in trusted(frames, index, start):
            number = number_of.get(stamp)
            if number is not None and not sound:
                break
            if number is not None:
                filling.put(number, frame, stream)
                yield number
            if stamp >= index.pts[run[-1]] + doubtful:
                break


@contextmanager
def strange_errors(path: Path) -> Iterator[None]:
    """Turn whatever FFmpeg, PyAV or NumPy raise over a stranger's file into an `InputError` that names it."""
    try:
        yield
    except InputError:
        raise
    except (av.FFmpegError, ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError) as error:
        reason = whole_message(error)
        raise InputError(f"{path}: damaged or of a kind that FFmpeg cannot read ({reason}); re-export it") from error


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
) -> Iterator[VideoPacket]:
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


def seek_runs(wanted: Iterable[int], keys: np.ndarray) -> list[list[int]]:
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
