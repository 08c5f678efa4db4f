"""Still images to small RGB frames: centre crop to the aspect, then an antialiased resize.

Two ways, chosen by ``resample``:

* ``"area"`` (default): libjpeg decodes at DCT scale 1/2 when the picture is at least twice the target, then PIL's
  HAMMING filter (an antialiased area filter with soft edges) does the rest. PIL takes the crop as a fractional box,
  so the half scale needs no alignment of the crop. `benchmarks/studies/jpeg_reading.py` measures speed and agreement
  with LANCZOS.
* ``"vista"``: full decode and PIL's LANCZOS, for reproducing Vista's frames bit for bit (its `sample.py`: centre crop
  to whole pixels, then LANCZOS).

Shape legend: H, W target height and width.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import ExifTags, Image

from worldmodel.datasets.resize import crop_box
from worldmodel.datasets.video.colour import Uncoloured, as_rgb
from worldmodel.errors import InputError

RESAMPLES = ("area", "vista")


def adjust_intrinsics(
    intrinsic: Float64[np.ndarray, "3 3"], width: int, height: int, size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """Pinhole matrix in pixels of the frame that `read_image` makes of a `width` x `height` picture.

    Pixel coordinates are continuous with (0, 0) at the picture's upper left corner.
    """
    left, top, right, bottom = crop_box(width, height, *size)
    scale_x, scale_y = size[1] / (right - left), size[0] / (bottom - top)
    move = np.array([[scale_x, 0, -left * scale_x], [0, scale_y, -top * scale_y], [0, 0, 1.0]])
    return move @ np.asarray(intrinsic, dtype=np.float64)


def read_image(path: str | Path, size: tuple[int, int], resample: str = "area") -> UInt8[np.ndarray, "H W 3"]:
    """Read one picture as upright RGB, cropped at the centre to the aspect of `size` = (H, W) and resized to it.

    Raises:
        InputError: the file is missing, empty, truncated or corrupt (also where a decoder would fill in grey), its
            pixels have no plain colour (see `as_rgb`), or `resample` is unknown.
    """
    if resample not in RESAMPLES:
        raise InputError(f"resample={resample!r} is unknown; use one of {', '.join(RESAMPLES)}")
    data = _bytes(path)
    try:
        return _read_jpeg(data, size, resample) if data[:2] == b"\xff\xd8" else _read_other(data, size, resample)
    except Uncoloured as why:
        raise InputError(f"image {path}: {why}") from None
    except Exception as why:  # decoders raise what they like over a stranger's bytes: struct.error, IndexError, ...
        reason = " ".join(str(why).split()) or type(why).__name__
        raise InputError(f"image {path} is truncated or corrupt ({reason}); copy or download it again") from None


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture as `read_image` sees it, upright; raises InputError as it does."""
    data = _bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return (opened.height, opened.width) if turned else (opened.width, opened.height)
    except Exception as why:  # decoders raise what they like over a stranger's bytes
        raise InputError(f"image {path} is truncated or corrupt ({why}); copy or download it again") from None


def _bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as why:
        remedy = "check the dataset root, or download the part that holds it"
        raise InputError(f"image {path} cannot be read ({why.strerror}); {remedy}") from None
    if not data:
        raise InputError(f"image {path} has 0 bytes; copy or download it again")
    return data


def _read_jpeg(data: bytes, size: tuple[int, int], resample: str) -> np.ndarray:
    import simplejpeg  # here, since training from latents and the suites of cost read no picture

    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    if colours in ("CMYK", "YCCK"):
        return _read_other(data, size, resample)
    if resample == "vista" or _turned(data):
        # PIL fills broken entropy data with grey and says nothing; libjpeg at 1/8 scale, strict, costs little and
        # refuses it.
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
        return _read_other(data, size, resample)
    left, top, right, bottom = crop_box(width, height, size[0], size[1])
    factor = 2 if right - left >= 2 * size[1] and bottom - top >= 2 * size[0] else 1
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor), "min_factor": factor}
    picture = simplejpeg.decode_jpeg(data, "RGB", **least)
    box = (left / factor, top / factor, right / factor, bottom / factor)
    small = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.HAMMING, box=box)
    return np.asarray(small)


def _turned(data: bytes) -> bool:
    """Whether a JPEG's EXIF says that it is stored turned or mirrored; most drives' pictures have no EXIF at all."""
    if b"Exif\0\0" not in data[: 2**16]:
        return False
    with Image.open(io.BytesIO(data)) as opened:
        return bool(opened.getexif().get(ExifTags.Base.Orientation, 1) != 1)


def _read_other(data: bytes, size: tuple[int, int], resample: str) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        picture = as_rgb(opened)
    # Cropping first keeps pixels outside the box out of the filter, which is what Vista does.
    cropped = picture.crop(crop_box(picture.width, picture.height, size[0], size[1]))
    kernel = Image.Resampling.LANCZOS if resample == "vista" else Image.Resampling.HAMMING
    return np.asarray(cropped.resize((size[1], size[0]), kernel))
