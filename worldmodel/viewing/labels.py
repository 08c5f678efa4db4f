"""Words beside pictures, in PIL's own font.

Shape legend: C colours (3), H height, W width.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, PAPER = (235, 235, 235), (24, 24, 24)


def as_image(frame_CHW: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """One RGB frame as a PIL image."""
    return Image.fromarray(np.ascontiguousarray(frame_CHW.permute(1, 2, 0).numpy()))


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height in pixels that `text` takes (lines parted by newlines)."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=ImageFont.load_default(size))
    return round(right - left), round(bottom - top)


def write_centred(canvas: Image.Image, box: tuple[int, int, int, int], text: str, size: int) -> None:
    """Draw `text` in the middle of `box` (left, top, right, bottom), smaller where it would not fit."""
    while size > 8 and text_size(text, size)[0] > box[2] - box[0] - 4:
        size -= 1
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(canvas).multiline_text(
        middle, text, fill=INK, font=font, anchor="mm", align="center", stroke_width=1, stroke_fill=PAPER
    )
