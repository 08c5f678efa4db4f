"""Whatever Pillow opened, as upright RGB of 8 bits a colour, or refused: what `convert("RGB")` alone gets wrong.

`convert` clips 16-bit grey to 255 (nearly all white), knows no white for 32-bit numbers, and shows whatever colours lie
under transparent pixels.
"""

import numpy as np
from jaxtyping import Float64
from PIL import Image, ImageOps

WIDE_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
BITS_PER_SAMPLE, WHITE_IS_ZERO = 258, (262, 0)  # TIFF tags


class Uncoloured(ValueError):
    """A whole picture whose pixels are no plain colours; says what to save it as."""


def as_rgb(opened: Image.Image) -> Image.Image:
    """The picture as a viewer shows it: turned as its EXIF orientation says, 8 bits a colour.

    Raises:
        Uncoloured: several pages, transparent pixels, or numbers without a known white; says what to save it as.
    """
    if opened.format == "TIFF" and getattr(opened, "n_frames", 1) > 1:
        raise Uncoloured(f"it holds {opened.n_frames} pages; save each as a picture of its own")  # type: ignore[attr-defined]
    upright = ImageOps.exif_transpose(opened)
    wide = opened.mode in WIDE_GREY or (opened.mode == "I" and opened.format == "PPM")
    if wide:
        return _from_grey(np.asarray(upright) / _white(opened), _inverted(opened))
    if opened.mode in TRANSPARENT or "transparency" in opened.info:
        return _opaque(upright.convert("RGBA")).convert("RGB")
    if opened.mode not in PLAIN:
        raise Uncoloured(f"pixels of mode {opened.mode} have no known white; save it as 8-bit RGB")
    return upright.convert("RGB")


def _white(opened: Image.Image) -> int:
    """The number that means white: TIFF may hold 12 bits, all else is scaled to 16."""
    bits = getattr(opened, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return (1 << int(bits[0])) - 1


def _inverted(opened: Image.Image) -> bool:
    """Whether 0 means white; Pillow turns narrower grey round by itself."""
    tag, value = WHITE_IS_ZERO
    return bool(getattr(opened, "tag_v2", {}).get(tag, 1) == value)


def _from_grey(grey_HW: Float64[np.ndarray, "H W"], inverted: bool) -> Image.Image:
    """From numbers between 0 and 1."""
    shown_HW = 1 - grey_HW if inverted else grey_HW
    return Image.fromarray((255 * shown_HW).round().astype(np.uint8)).convert("RGB")


def _opaque(picture: Image.Image) -> Image.Image:
    least, _ = picture.getextrema()[3]  # type: ignore[misc]
    if least < 255:
        raise Uncoloured("it has transparent pixels, which have no colour of their own; save it without transparency")
    return picture
