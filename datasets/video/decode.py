"""Decoded video frames: which of them can be trusted, and where their pictures go."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np

from worldmodel.datasets.resize import Picture
from worldmodel.datasets.video.index import VideoIndex, VideoPacket
from worldmodel.errors import InputError

B_PICTURE = 3  # FFmpeg's AV_PICTURE_TYPE_B; PyAV gives the bare number
# Codecs in which a "non-reference" picture is referenced by nothing at all. In HEVC such a picture may still serve
# higher temporal layers, so skipping it there could give wrong frames.
SKIPPABLE = ("h264", "mpeg4", "mpeg2video")
MOST_WAITING = 17  # decoders hold 16 pictures at most; some HEVC encoders call every picture between two keys B


def decoded(
    packets: Iterable[VideoPacket], stream: av.VideoStream, wanted: set[int] | None = None
) -> Iterator[av.VideoFrame | int | None]:
    """Frames in display order; where the decoder failed, the packet's stamp.

    With `wanted` (time stamps), pictures that nothing refers to and nobody wants are skipped: bit-exact, and on
    long groups of pictures about a third fewer to decode.
    """
    kept = wanted if stream.codec_context.name in SKIPPABLE else None
    for packet, is_leaf in leaves(packets):
        skip = kept is not None and is_leaf and packet.pts not in kept
        stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"
        try:
            yield from packet.decode()
        except av.FFmpegError:
            yield packet.pts
    try:
        yield from stream.decode(None)  # what the decoder still holds back
    except av.FFmpegError:  # it was emptied at the end of the file
        return


def leaves(packets: Iterable[VideoPacket]) -> Iterator[tuple[VideoPacket, bool]]:
    """Every packet, and whether by its place nothing should refer to it: shown before one that was decoded earlier,
    and not after the one that is decoded next.

    Only such pictures may be skipped, although the decoder skips none that is referred to: a packet in which it finds
    no picture for damage is a failure to it where nothing is skipped, and passes in silence where it may skip.
    """
    latest, waiting = -np.inf, None
    for following in chain(packets, [None]):
        if waiting is not None:
            stamp, after = waiting.pts, None if following is None else following.pts
            yield waiting, stamp is not None and stamp < latest and (after is None or after > stamp)
            latest = latest if stamp is None else max(latest, stamp)
        waiting = following


def trusted(
    frames: Iterable[av.VideoFrame | int | None], index: VideoIndex, first: int = 0
) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """(stamp, frame, sound) of every frame from number `first` of the index on.

    A decoder flags the picture whose bits are wrong, not those predicted from it. So damage holds until the next key
    frame, and B pictures wait for the picture after them, which they may be predicted from. On a video with 400
    random bytes changed this keeps exactly the frames that equal the undamaged video. (Bits can change so that the
    stream stays valid; no decoder sees that, and such a frame counts as sound.) A failure shows before pictures
    that the decoder still holds back, so only a key frame later than its stamp ends it.

    Stamps that rise from packet to packet say that no picture is decoded before its turn. Where B pictures show that
    some are, the stamps are times of decoding, and a frame's number is unknown.
    """
    start, key_stamps, rising = int(index.pts[first]), set(index.pts[index.keys].tolist()), index.rises
    damaged, failures, waiting, count = False, [], [], -1
    for frame in frames:
        if not isinstance(frame, av.VideoFrame):
            failures.append(np.inf if frame is None else frame)
            continue
        count += 1
        stamp = frame.pts if index.stamped else count
        if stamp is None or stamp < start:
            continue
        waiting.append((stamp, frame))
        if frame.pict_type == B_PICTURE and len(waiting) < MOST_WAITING:
            continue
        yield from (released := judged(waiting, damaged or bool(failures), key_stamps, rising))
        if stamp in key_stamps:
            failures = [failed for failed in failures if failed > stamp]
        damaged, waiting = not released[-1][2], []
    yield from judged(waiting, damaged or bool(failures), key_stamps, rising)


def judged(
    group: list[tuple[int, av.VideoFrame]], damaged: bool, key_stamps: set[int], rising: bool
) -> list[tuple[int, av.VideoFrame, bool]]:
    """One run of B pictures and the picture that ends it, each with whether it can be trusted."""
    spoilt = damaged or any(frame.is_corrupt for _, frame in group)
    if rising and any(after < before for (before, _), (after, _) in pairwise(group)):
        return [(stamp, frame, False) for stamp, frame in group]
    return [(stamp, frame, not (frame.is_corrupt if stamp in key_stamps else spoilt)) for stamp, frame in group]


class Filling:
    """Decoded frames on their way into one array per span.

    `places` says for every frame which spans want it, and where.
    """

    def __init__(self, spans: list[list[int]], size: tuple[int, int] | None, path: Path) -> None:
        self.lengths, self.path, self.picture = [len(span) for span in spans], path, Picture(size)
        self.videos: list[np.ndarray] = []
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for span, frames in enumerate(spans):
            for place, frame in enumerate(frames):
                self.places[frame].append((span, place))

    def put(self, number: int, frame: av.VideoFrame, stream: av.VideoStream) -> None:
        """Write the picture of frame `number` wherever it is wanted."""
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        planes = self.picture.planes(frame, aspect)
        height, width = planes[0].shape
        if not self.videos:
            self.videos = [np.empty((length, 3, height, width), np.uint8) for length in self.lengths]
        if self.videos[0].shape[2:] != (height, width):
            raise InputError(f"{self.path}: its pictures change size at frame {number}; read it with a size")
        for span, place in self.places[number]:
            picture_CHW = self.videos[span][place]
            for colour, plane in enumerate(planes):
                picture_CHW[colour] = plane
