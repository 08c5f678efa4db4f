"""Frames as compressed bytes, and the difference of two frames as a picture.

Shape legend: T frames, C colours (3), H height, W width.
"""

import io

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from worldmodel.errors import InputError

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}
# A fixed scale lets the colours of two recordings be compared; 96 of 255 still tells the errors of an object that
# moved apart from the fainter ones of a blurred road.
ERROR_WHITE = 96.0


def encode_image(frame_CHW: UInt8[Tensor, "3 H W"], image_format: str = "jpeg", quality: int = 90) -> bytes:
    """One RGB frame as JPEG (4:2:0) or PNG bytes; `InputError` for another format."""
    frame_HWC = np.ascontiguousarray(frame_CHW.permute(1, 2, 0).numpy())
    if image_format == "jpeg":
        import simplejpeg

        return simplejpeg.encode_jpeg(frame_HWC, quality=quality, colorspace="RGB", colorsubsampling="420")
    if image_format == "png":
        buffer = io.BytesIO()
        Image.fromarray(frame_HWC).save(buffer, "PNG", compress_level=6)
        return buffer.getvalue()
    raise InputError(f"image_format {image_format}: not known; use {' or '.join(MEDIA_TYPES)}")


def error_map(
    predicted_TCHW: UInt8[Tensor, "T 3 H W"], truth_TCHW: UInt8[Tensor, "T 3 H W"]
) -> UInt8[Tensor, "T 3 H W"]:
    """Mean absolute difference over the colours: black for 0, over red and yellow to white for 96 of 255 or more."""
    difference_THW = (predicted_TCHW.float() - truth_TCHW.float()).abs().mean(dim=1)
    level_THW = (difference_THW / ERROR_WHITE).clamp(0.0, 1.0)
    heat = [(3.0 * level_THW - channel).clamp(0.0, 1.0) for channel in range(3)]
    return (torch.stack(heat, dim=1) * 255.0).round().to(torch.uint8)
