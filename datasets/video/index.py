"""Which stream of a file is the video, and when each of its frames is shown.

The runtime's environment has only numpy and PyAV, so nothing else is imported here.

Most containers say for every packet when its picture is shown. Some say only when it is decoded (AVI), some nothing
(raw H.264), and in some the stamps repeat or go back (recordings put end to end). There the frames are decoded once:
their order is the decoder's, which is the order of display whatever the stamps are.

Legend: F frames.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from worldmodel.datasets.video.frame_rate import VIDEO_RATES, check_rate
from worldmodel.errors import InputError

COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
FURTHER = 32  # packets read past the last moment that is wanted; a picture is decoded at most 16 ahead of its display
Stamps = Sequence[int | None]
if TYPE_CHECKING:
    VideoPacket = av.Packet[Any]
else:
    VideoPacket = av.Packet  # generic in its stub alone


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video in display order, those hidden by an edit list left out.

    `times_s` are the container's own times in seconds (they need not begin at 0), `keys` marks frames that decode
    alone, `pts`/`dts` are the stamps in the stream's time base. Where the stamps do not tell the order of display,
    `stamped` is False and `pts` is 0 .. F-1: such a video is read by counting from its beginning. `stream` is the
    video's number among all streams of the file. All arrays are [F].
    """

    times_s: np.ndarray
    keys: np.ndarray
    pts: np.ndarray
    dts: np.ndarray
    stamped: bool
    stream: int = 0

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def frame_rate(self) -> float:
        """Frames per second, with dropped frames and rounded time stamps (WebM) evened out; 0.0 for one."""
        if len(self) < 2:
            return 0.0
        steps_s = np.diff(self.times_s)
        return float(1.0 / steps_s[steps_s < 1.5 * np.median(steps_s)].mean())

    @property
    def rises(self) -> bool:
        """Whether the stamps say that the frames are decoded in the order in which they are shown."""
        return self.stamped and bool((np.diff(self.dts) > 0).all())

    @property
    def open_groups(self) -> bool:
        """Whether pictures that are shown before a key frame are decoded after it."""
        latest = np.maximum.accumulate(self.dts)
        return bool((self.keys[1:] & (latest[:-1] > self.dts[1:])).any())


@dataclass
class Packets:
    """What the packets of one stream say, in the order of decoding; hidden and empty ones left out."""

    pts: list[int | None]
    dts: list[int | None]
    keys: list[bool]

    def __len__(self) -> int:
        return len(self.pts)

    def add(self, packet: VideoPacket) -> None:
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.keys.append(packet.is_keyframe)

    @property
    def tell_display(self) -> bool:
        """Whether the stamps can be times of display: each packet has its own, and decoding goes forward in time."""
        decoded_at = [stamp for stamp in self.dts if stamp is not None]
        goes_on = all(before <= after for before, after in pairwise(decoded_at))
        return goes_on and None not in self.pts and len(set(self.pts)) == len(self)

    @property
    def rise(self) -> bool:
        """Whether the first packets are each shown after the one decoded before, as times of decoding say of all."""
        return all(a is not None and b is not None and a < b for a, b in pairwise(self.pts[:FURTHER]))


def video_streams(container: InputContainer, path: Path) -> list[av.VideoStream]:
    """The video streams that are no cover pictures or thumbnails, the default one first.

    Raises:
        InputError: there is none.
    """
    uncovered = [stream for stream in container.streams.video if not stream.disposition & COVERS]
    known = [stream for stream in uncovered if stream.codec_context is not None]
    if uncovered and not known:
        raise InputError(f"{path}: its video codec is unknown to FFmpeg; re-encode it, for example as H.264")
    if not known:
        kinds = {"cover picture" if stream.type == "video" else stream.type for stream in container.streams}
        kinds_text = ", ".join(sorted(kinds)) or "nothing"
        raise InputError(f"{path}: no video stream, only {kinds_text}; give a file with pictures")
    return sorted(known, key=lambda stream: not stream.disposition & Disposition.default)


def scanned(container: InputContainer, path: Path, until_s: float = float("inf")) -> tuple[av.VideoStream, Packets]:
    """The video's stream and what its packets say, up to `until_s` seconds from its beginning and a little further.

    The video is the first of `video_streams` that has more than one frame: a cover picture need not say that it is one.

    Raises:
        InputError: no video stream, no frame in it, or nothing that can be read.
    """
    streams = video_streams(container, path)
    packets, of = (
        {stream.index: Packets([], [], []) for stream in streams},
        {stream.index: stream for stream in streams},
    )
    further = 0
    try:
        for packet in container.demux(streams):
            if packet.size and not packet.is_discard:
                own = packets[packet.stream_index]
                own.add(packet)
                further += until_s < float("inf") and _since_first_s(of[packet.stream_index], own) > until_s
            if further > FURTHER:
                break
    except av.FFmpegError as error:
        raise InputError(f"{path}: damaged, no packets to read ({error.strerror}); copy it again") from error
    video = min(streams, key=lambda stream: -min(2, len(packets[stream.index])))
    if not packets[video.index]:
        raise InputError(f"{path}: has a video stream but no frame; re-export it or take it out")
    return video, packets[video.index]


def numbered(container: InputContainer, number: int) -> av.VideoStream:
    """The video stream with this number among all streams of the file."""
    return next(stream for stream in container.streams.video if stream.index == number)


def _since_first_s(stream: av.VideoStream, packets: Packets) -> float:
    first, last = packets.dts[0], packets.dts[-1]
    if first is None or last is None:
        return len(packets) / nominal_rate(stream)
    return float((last - first) * (stream.time_base or 0))


def nominal_rate(stream: av.VideoStream) -> float:
    """Frames per second that the container or the codec names; FFmpeg's 25 where neither does."""
    return float(stream.guessed_rate or stream.average_rate or 25)


def goes_back(shown: Stamps) -> bool:
    """Whether frames in the order of display have stamps that fall: then these are times of decoding."""
    known = [stamp for stamp in shown if stamp is not None]
    return any(after < before for before, after in pairwise(known))


def stamped_index(packets: Packets, stream: av.VideoStream, path: Path) -> VideoIndex:
    """Index by stamps that are times of display."""
    pts = np.array(packets.pts, np.int64)
    dts = np.array([p if d is None else d for p, d in zip(packets.pts, packets.dts, strict=True)], np.int64)
    order = np.argsort(pts)
    seconds = pts[order] * float(stream.time_base or 1)
    index = VideoIndex(seconds, np.array(packets.keys)[order], pts[order], dts[order], True, stream.index)
    return _checked(index, path)


def counted_index(shown: Stamps, packets: Packets, stream: av.VideoStream, path: Path) -> VideoIndex:
    """Index of a video whose stamps do not tell the order of display.

    Args:
        shown: stamp of every frame, in the order in which the decoder gives them.
    """
    numbers = np.arange(len(shown), dtype=np.int64)
    decoding_times = packets.rise and goes_back(shown)  # as many as frames, if every packet gave one
    stamps = packets.dts if decoding_times else shown
    known = {stamp for stamp in stamps if stamp is not None}
    if len(known) == 1 < len(shown) and None not in stamps:
        raise InputError(f"{path}: its {len(shown)} frames all have the same time; re-export it")
    seconds = numbers / nominal_rate(stream)
    if len(known) > 1 and len(stamps) == len(shown):
        seconds = evened(stamps) * float(stream.time_base or 1)
    return _checked(VideoIndex(seconds, numbers == 0, numbers, numbers, False, stream.index), path)


def evened(stamps: Stamps) -> np.ndarray:
    """Times that always rise, float64 [F], from stamps in the order of display.

    Where stamps go back, a new recording begins, one usual step after the last. Frames without a stamp, or with that of
    the frame before, lie evenly between the frames around them.
    """
    known = [(number, stamp) for number, stamp in enumerate(stamps) if stamp is not None]
    at, ticks = np.array([number for number, _ in known]), np.array([stamp for _, stamp in known], np.float64)
    steps = np.diff(ticks)
    forward = (steps / np.diff(at))[steps > 0]
    usual = float(forward[forward < 1.5 * np.median(forward)].mean()) if len(forward) else 1.0
    rising = ticks[0] + np.concatenate([[0.0], np.cumsum(np.where(steps < 0, usual, steps))])
    own = np.concatenate([[True], np.diff(rising) > 0])
    at, rising = at[own], rising[own]
    numbers = np.arange(len(stamps))
    before, after = np.minimum(numbers - at[0], 0), np.maximum(numbers - at[-1], 0)
    seconds: np.ndarray = np.interp(numbers, at, rising) + usual * (before + after)
    return seconds


def _checked(index: VideoIndex, path: Path) -> VideoIndex:
    if len(index) > 1:
        check_rate(index.frame_rate, str(path), "its time stamps are wrong, re-export it", VIDEO_RATES)
    return index


def frames_of(shown: Iterable[av.VideoFrame | int | None], most: int | None = None) -> list[int | None]:
    """Stamps of decoded frames in the order in which they come, at most so many."""
    stamps: list[int | None] = []
    for frame in shown:
        if isinstance(frame, av.VideoFrame):
            stamps.append(frame.pts)
        if len(stamps) == most:
            break
    return stamps
