"""A decoded video frame to RGB of one size: centre crop to the aspect, scaled, turned upright.

Training, benchmarks and the vehicle's runtime see the same pixels through this one module; the runtime's environment
has only numpy and PyAV, so nothing else is imported here, and PyAV only where a video is read: training from latents
and still pictures do without.

Legend: C colours (3), H height, W width.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av
    import av.filter

Box = tuple[int, int, int, int]


def crop_box(width: int, height: int, target_h: int, target_w: int) -> Box:
    """Centre crop of a picture to the aspect of the target, in whole pixels: (left, top, right, bottom)."""
    if width * target_h > height * target_w:
        kept = int(target_w / target_h * height)
        return (width - kept) // 2, 0, (width + kept) // 2, height
    kept = int(target_h / target_w * width)
    return 0, (height - kept) // 2, width, (height + kept) // 2


def fitting(width: int, height: int, pixel_aspect: float, size: tuple[int, int] | None) -> tuple[Box, tuple[int, int]]:
    """(left, top, width, height) of the stored picture to keep, and the (H, W) to scale it to.

    Args:
        pixel_aspect: width of a pixel in heights; the picture is shown `pixel_aspect` times as wide as it is stored.
        size: (H, W) wanted; None keeps the display size.
    """
    display_width = round(width * pixel_aspect)
    if size is None:
        return (0, 0, width, height), (height, display_width)
    left, top, right, bottom = crop_box(display_width, height, *size)
    left, right = round(left / pixel_aspect), min(width, round(right / pixel_aspect))
    return (left, top, max(1, right - left), max(1, bottom - top)), size


class Picture:
    """Decoded frame to RGB at one size: crop the centre to the aspect, scale (area averaging down, bicubic up), turn
    upright.

    One pass of FFmpeg's filters from the decoder's own planes to planar RGB. The crop costs nothing, so only what is
    shown is scaled, and it lies where `crop_box` says. PyAV's `reformat` cannot crop, and it was further from
    exact arithmetic on 10-bit and interlaced videos (2.6 and 3.5 of 255 on average, the filters 0.3).

    Args:
        size: (H, W); None keeps the display size.
    """

    def __init__(self, size: tuple[int, int] | None) -> None:
        self.size = size
        self._graph: Any = None
        self._made_for: tuple[int, int, str, int, float] | None = None

    def __call__(self, frame: av.VideoFrame, pixel_aspect: Fraction | None = None) -> np.ndarray:
        """uint8 [C, H, W]; `pixel_aspect` as the stream says it, None for square pixels."""
        return np.stack(self.planes(frame, pixel_aspect))

    def planes(self, frame: av.VideoFrame, pixel_aspect: Fraction | None = None) -> list[np.ndarray]:
        """Red, green and blue, each uint8 [H, W], as views of FFmpeg's memory."""
        quarter_turns, aspect = round(frame.rotation / 90) % 4, float(pixel_aspect or 1)
        shape = (frame.width, frame.height, frame.format.name, quarter_turns % 2, aspect)
        if shape != self._made_for:
            self._graph, self._made_for = self._new_graph(frame, quarter_turns % 2 == 1, aspect), shape
        self._graph.vpush(frame)
        green, blue, red = (plane_HW(plane) for plane in self._graph.vpull().planes)
        return [np.rot90(colour, quarter_turns) for colour in (red, green, blue)]

    def _new_graph(self, frame: av.VideoFrame, lies: bool, pixel_aspect: float) -> av.filter.Graph:
        import av.filter

        (left, top, width, height), (scaled_h, scaled_w) = fitting(
            frame.width, frame.height, pixel_aspect, self.size[::-1] if self.size and lies else self.size
        )
        as_it_is = (scaled_h, scaled_w) == (height, width)
        flags = "bicubic" if as_it_is or scaled_h > height or scaled_w > width else "area"
        if as_it_is and 0 < width % 16 <= 8:  # FFmpeg's shortcut for this leaves those last columns black
            flags += "+accurate_rnd"
        graph = av.filter.Graph()
        graph.threads = 1
        graph.link_nodes(
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base or Fraction(1, 25),
            ),
            graph.add("crop", f"{width}:{height}:{left}:{top}:exact=1"),
            graph.add("scale", f"{scaled_w}:{scaled_h}:flags={flags}"),
            graph.add("format", "gbrp"),
            graph.add("buffersink"),
        ).configure()
        return graph


def plane_HW(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """One plane of 8-bit samples, uint8 [H, W], without a copy and without the padding at the ends of its lines."""
    raw: Any = plane  # it has the buffer protocol, which its stub does not say
    return np.frombuffer(raw, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
