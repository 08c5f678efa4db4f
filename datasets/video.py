"""Frames of a video file by time stamp: an index without decoding, and frame-exact reading.

Legend: F frames, C colours (3), H height, W width. Frames are numbered 0 .. F-1 in display order.

What the pictures are: rotation metadata is applied; pixels that are not square are stretched in width to square
ones; colours follow the file's tags, and FFmpeg's BT.601 where it has none. An interlaced frame comes as it is
stored, both fields woven into one picture: moving edges show combs, nothing is deinterlaced. A mirror in the
rotation tag is not applied.

Why PyAV with our own seeking: naive seeking gave wrong frames on open groups of pictures and on variable frame
rates. Here the seek goes to the decoding time of the last key frame at or before the target, and a frame counts
only if its time stamp is the one in the index. No Python log callback is ever set and containers are closed
explicitly: with a callback, PyAV has been seen to deadlock when a codec is freed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from worldmodel.errors import InputError

B_PICTURE = 3  # FFmpeg's AV_PICTURE_TYPE_B; PyAV gives the bare number
# Codecs in which a "non-reference" picture is referenced by nothing at all. In HEVC such a picture may still serve
# higher temporal layers, so skipping it there could give wrong frames.
SKIPPABLE = ("h264", "mpeg4", "mpeg2video")


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


class VideoSource:
    """One video file. Holds no open file, so that it pickles into worker processes.

    Args:
        path: the file. Anything FFmpeg demuxes; only its first video stream is read.
        threads: decoder threads; 1 suits many worker processes.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        self.threads = threads

    def index(self) -> VideoIndex:
        """Time stamps and key flags, from the packets alone (kept after the first call).

        Raises:
            InputError: missing, empty, not a video, truncated, no video stream, or no frame.
        """
        return self._index

    def read(
        self, frames: Sequence[int] | range | np.ndarray, size: tuple[int, int] | None = None
    ) -> UInt8[Tensor, "F 3 H W"]:
        """The frames of these numbers, in the order asked for, repeats allowed.

        Args:
            frames: numbers into `index()`.
            size: (H, W) to centre-crop to and scale to (area averaging down, bicubic up); None keeps the display size.

        Raises:
            InputError: a number outside the file, or a frame that the decoder lost or reported as damaged, or that
                depends on a damaged one. Wrong pictures are never handed out knowingly.
        """
        index, wanted = self.index(), [int(frame) for frame in frames]
        for frame in wanted:
            if not 0 <= frame < len(index):
                raise InputError(f"{self.path}: frame {frame} asked for, the video has 0 to {len(index) - 1}")
        if not wanted:
            raise InputError(f"{self.path}: no frame asked for; give at least one number")
        picture = Picture(size)
        found: dict[int, UInt8[Tensor, "3 H W"]] = {}
        with self._open() as container:
            for run in seek_runs(wanted, index.keys):
                found.update(self._read_run(container, run, picture))
        return torch.stack([found[frame] for frame in wanted])

    @cached_property
    def _index(self) -> VideoIndex:
        with self._open() as container:
            stream = container.streams.video[0]
            try:
                packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
            except av.FFmpegError as error:
                raise InputError(
                    f"{self.path}: damaged, no packets to read ({error.strerror}); copy it again"
                ) from error
            if not packets:
                raise InputError(f"{self.path}: has a video stream but no frame; re-export it or take it out")
            if any(p.pts is None for p in packets):
                rate = stream.guessed_rate or stream.average_rate
                return counted_index([p.is_keyframe for p in packets], float(rate or 25))
            return stamped_index(
                [(p.pts, p.pts if p.dts is None else p.dts, p.is_keyframe) for p in packets], float(stream.time_base)
            )

    def _open(self) -> av.container.InputContainer:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such video file; check the path")
        if self.path.stat().st_size == 0:
            raise InputError(f"{self.path}: empty file (0 bytes); copy it again or take it out")
        try:
            container = av.open(str(self.path))
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

    def _read_run(
        self, container: av.container.InputContainer, run: list[int], picture: "Picture"
    ) -> dict[int, Tensor]:
        """Frames of one seek. A key frame that the container flagged wrongly shows as an unusable first frame: then
        the decoding starts one key frame earlier, once."""
        keys = np.flatnonzero(self.index().keys[: run[0] + 1])
        starts = [int(key) for key in keys[-2:][::-1]] if self.index().stamped else []
        for start in starts or [0]:
            found = self._decode(container, start, run, picture)
            if len(found) == len(run):
                return found
        lost = next(frame for frame in run if frame not in found)
        time_s = self.index().times_s[lost]
        raise InputError(f"{self.path}: frame {lost} (at {time_s:.3f} s) is damaged; read other frames or re-export it")

    def _decode(
        self, container: av.container.InputContainer, start: int, run: list[int], picture: "Picture"
    ) -> dict[int, Tensor]:
        index = self.index()
        number_of = {int(index.pts[frame]): frame for frame in run}
        stream = container.streams.video[0]
        if index.stamped:
            try:
                container.seek(int(index.dts[start]), stream=stream, backward=True)
            except av.FFmpegError:
                return {}
        found: dict[int, Tensor] = {}
        shown = decoded(container, stream, number_of if index.stamped else None)
        key_stamps = set(index.pts[index.keys].tolist())
        for stamp, frame, sound in trusted(shown, int(index.pts[start]), key_stamps, index.stamped):
            number = number_of.get(stamp)
            if number is not None and not sound:
                break
            if number is not None:
                found[number] = picture(frame, stream.sample_aspect_ratio)
            if stamp >= index.pts[run[-1]]:
                break
        return found


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


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, wanted: dict[int, int] | None
) -> Iterator[av.VideoFrame | int | None]:
    """Frames in display order from the current position on; where the decoder failed, the packet's stamp.

    With `wanted` (time stamps), pictures that nothing refers to and nobody wants are skipped: bit-exact, and on
    long groups of pictures about a third fewer to decode.
    """
    kept = wanted if stream.codec_context.name in SKIPPABLE else None
    for packet in container.demux(stream):
        skip = kept is not None and packet.pts is not None and packet.pts not in kept
        stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"
        try:
            yield from packet.decode()
        except av.FFmpegError:
            yield packet.pts


def trusted(
    frames: Iterable[av.VideoFrame | int | None], start: int, key_stamps: set[int], stamped: bool
) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """(stamp, frame, sound) of every frame from stamp `start` on.

    A decoder flags the picture whose bits are wrong, not those predicted from it. So damage holds until the next key
    frame, and B pictures wait for the picture after them, which they may be predicted from. On a film with 400
    random bytes changed this keeps exactly the frames that equal the undamaged film. (Bits can change so that the
    stream stays valid; no decoder sees that, and such a frame counts as sound.) A failure shows before pictures
    that the decoder still holds back, so only a key frame later than its stamp ends it.
    """
    damaged, failures, waiting, count = False, [], [], -1
    for frame in frames:
        if not isinstance(frame, av.VideoFrame):
            failures.append(np.inf if frame is None else frame)
            continue
        count += 1
        stamp = frame.pts if stamped else count
        if stamp is None or stamp < start:
            continue
        waiting.append((stamp, frame))
        if frame.pict_type == B_PICTURE:
            continue
        yield from (released := judged(waiting, damaged or bool(failures), key_stamps))
        if stamp in key_stamps:
            failures = [failed for failed in failures if failed > stamp]
        damaged, waiting = not released[-1][2], []
    yield from judged(waiting, damaged or bool(failures), key_stamps)


def judged(
    group: list[tuple[int, av.VideoFrame]], damaged: bool, key_stamps: set[int]
) -> list[tuple[int, av.VideoFrame, bool]]:
    """One run of B pictures and the picture that ends it, each with whether it can be trusted."""
    spoilt = damaged or any(frame.is_corrupt for _, frame in group)
    return [(stamp, frame, not (frame.is_corrupt if stamp in key_stamps else spoilt)) for stamp, frame in group]


class Picture:
    """Decoded frame to RGB at one size: scale to cover, turn upright, crop the centre.

    Down: area averaging to a small 4:4:4 picture first, then to RGB. Against Lanczos of the full RGB frame that gave
    40.7 dB where scaling straight to RGB gave 37.1, at the same cost.
    """

    def __init__(self, size: tuple[int, int] | None) -> None:
        self.size = size
        self.scaler, self.painter = av.video.reformatter.VideoReformatter(), av.video.reformatter.VideoReformatter()

    def __call__(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> UInt8[Tensor, "3 H W"]:
        quarter_turns = round(frame.rotation / 90) % 4
        width, height = frame.width * float(pixel_aspect or 1), float(frame.height)
        if quarter_turns % 2:
            width, height = height, width
        scaled_h, scaled_w = covering(height, width, self.size)
        crop = centre_crop(scaled_h, scaled_w, self.size)
        if quarter_turns % 2:
            scaled_h, scaled_w = scaled_w, scaled_h
        shrinks = scaled_h <= frame.height and scaled_w <= frame.width
        small = self.scaler.reformat(
            frame, scaled_w, scaled_h, "yuv444p", threads=1,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
        )  # fmt: skip
        rgb_HWC = self.painter.reformat(small, format="rgb24", threads=1).to_ndarray()
        upright_HWC = np.rot90(rgb_HWC, quarter_turns)[crop]
        return torch.from_numpy(np.ascontiguousarray(upright_HWC.transpose(2, 0, 1)))


def covering(height: float, width: float, size: tuple[int, int] | None) -> tuple[int, int]:
    """Whole-pixel (H, W) of the picture scaled so that it just covers `size`, keeping its aspect to half a pixel."""
    if size is None:
        return round(height), round(width)
    scale = max(size[0] / height, size[1] / width)
    return max(size[0], round(height * scale)), max(size[1], round(width * scale))


def centre_crop(height: int, width: int, size: tuple[int, int] | None) -> tuple[slice, slice]:
    """Slices of the centre of an H x W picture."""
    if size is None:
        return slice(None), slice(None)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return slice(top, top + size[0]), slice(left, left + size[1])
