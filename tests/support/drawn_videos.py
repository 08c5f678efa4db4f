"""Videos for testing and measuring video readers: textured pictures that move, in awkward containers.

Shape legend: H, W picture height and width; C colours (3).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from worldmodel.files import media_url

RATE = 25


def moving_pictures(frames: int, height: int, width: int, seed: int = 0) -> Iterator[UInt8[np.ndarray, "H W C"]]:
    """A camera that drives over a large textured picture, turning and zooming a little, past nearer things.

    No two frames are alike; the whole video is a drive of 1.2 picture widths. Grain of a sensor is added (deviation 2
    of 255).
    """
    rng = np.random.default_rng(seed)
    ground = _texture(rng, 2 * height, 3 * width)
    objects = [_texture(rng, height // 4, width // 6) for _ in range(3)]
    for k in range(frames):
        zoom, turn = 1.1 + 0.2 * np.sin(k / 60), 0.05 * np.sin(k / 45)
        across, down = zoom * np.cos(turn), zoom * np.sin(turn)
        left = 0.2 * width + 1.2 * width * k / frames
        top = height * (0.4 + 0.1 * np.sin(k / 30))
        view = (across, -down, left, down, across, top)
        picture = ground.transform((width, height), Image.Transform.AFFINE, view, Image.Resampling.BILINEAR)
        for number, thing in enumerate(objects):
            x = (number * width // 2 + (5 + 3 * number) * width * k // 1280) % (width + thing.width) - thing.width
            picture.paste(thing, (x, height // 2 + number * height // 8))
        grain = rng.integers(-3, 4, (height, width, 1), dtype=np.int16)
        yield (np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Colour noise at four scales, the coarse ones the strongest."""
    total = np.full((height, width, 3), 128.0, np.float32)
    for cell, strength in ((64, 40), (16, 25), (4, 12), (1, 4)):
        coarse = rng.normal(0, strength, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        for colour in range(3):
            layer = Image.fromarray(coarse[..., colour]).resize((width, height), Image.Resampling.BILINEAR)
            total[..., colour] += np.asarray(layer)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def encode_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    options: dict[str, str],
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Encode pictures at 25 a second; `times` are theirs in 1/25 s, for a rate that varies."""
    with av.open(media_url(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.codec_context.thread_count, stream.pix_fmt = 1, pix_fmt
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut_copy(whole: Path, path: Path, first: int) -> Path:
    """The video from frame `first` on, copied without encoding, as ffmpeg's `-ss ... -c copy` makes it.

    It has the packets from the key frame before `first` on, and an edit list that hides those before `first`.
    """
    with av.open(media_url(whole)) as source:
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        begin = sorted(packet.pts for packet in packets)[first]
        key = max(packet.pts for packet in packets if packet.is_keyframe and packet.pts <= begin)
        key_at = next(number for number, packet in enumerate(packets) if packet.pts == key)
        with av.open(media_url(path), "w", options={"use_editlist": "1", "avoid_negative_ts": "disabled"}) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in packets[key_at:]:
                packet.pts, packet.dts, packet.stream = packet.pts - begin, packet.dts - begin, stream
                target.mux(packet)
    return path


def _closed(folder: Path, pictures: list[np.ndarray]) -> Path:
    return encode_video(folder / "closed.mp4", pictures, {"g": "30", "x264-params": "scenecut=0"})


def _matroska(folder: Path, pictures: list[np.ndarray]) -> Path:
    return encode_video(folder / "closed.mkv", pictures, {"g": "30", "x264-params": "scenecut=0"})


def _transport(folder: Path, pictures: list[np.ndarray]) -> Path:
    return encode_video(folder / "closed.ts", pictures, {"g": "30", "x264-params": "scenecut=0"})


def _open_groups(folder: Path, pictures: list[np.ndarray]) -> Path:
    options = {"g": "30", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
    return encode_video(folder / "open_groups.mp4", pictures, options)


def _open_matroska(folder: Path, pictures: list[np.ndarray]) -> Path:
    options = {"g": "30", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
    return encode_video(folder / "open_groups.mkv", pictures, options)


def _many_b(folder: Path, pictures: list[np.ndarray]) -> Path:
    options = {"g": "60", "x264-params": "bframes=8:b-adapt=0:b-pyramid=normal:scenecut=0"}
    return encode_video(folder / "many_b.mp4", pictures, options)


def _varying(folder: Path, pictures: list[np.ndarray]) -> Path:
    kept = [at for at in range(len(pictures)) if at % 10 not in (3, 4, 7, 8)]
    return encode_video(
        folder / "varying_rate.mp4", [pictures[at] for at in kept], {"g": "30", "x264-params": "scenecut=0"},
        times=kept,
    )  # fmt: skip


def _edited(folder: Path, pictures: list[np.ndarray]) -> Path:
    whole = encode_video(folder / "whole.mp4", pictures, {"g": "30", "x264-params": "scenecut=0"})
    return cut_copy(whole, folder / "edit_list.mp4", 42)


NASTY: dict[str, Callable[[Path, list[np.ndarray]], Path]] = {
    "closed groups, MP4": _closed,
    "closed groups, Matroska": _matroska,
    "closed groups, MPEG-TS": _transport,
    "open groups, MP4": _open_groups,
    "open groups, Matroska": _open_matroska,
    "8 B pictures in a row": _many_b,
    "varying rate (4 of 10 dropped)": _varying,
    "edit list (copied from frame 42)": _edited,
}
