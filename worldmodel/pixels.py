"""Pixels as files, people and networks hold them: 8 bits, floats in [0, 1], floats in [-1, 1].

A backbone encodes and decodes [-1, 1]; whoever changes from one to another does it here, so that all round alike.

Shape legend: B videos (cameras), F frames, C colours (3), H height, W width.
"""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from worldmodel.errors import InputError

OutputType = Literal["pt", "np", "pil", "latent"]


def signed_from_uint8(levels: Tensor) -> Float[Tensor, "..."]:
    """8-bit pixels as float32 in [-1, 1]."""
    return levels.float() / 127.5 - 1


def signed_from_unit(pixels: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Pixels in [0, 1] as pixels in [-1, 1]."""
    return pixels * 2 - 1


def unit_from_signed(pixels: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Pixels in [-1, 1] as pixels in [0, 1]; what a decoder overshoots is kept."""
    return pixels / 2 + 0.5


def to_uint8(pixels: Tensor) -> UInt8[Tensor, "..."]:
    """Pixels in [0, 1] to 8 bits on the CPU, rounded; what lies a little outside is cut off.

    Raises:
        InputError: no floats; levels of 255 would all become white.
    """
    if not pixels.is_floating_point():
        raise InputError(f"pixels of dtype {str(pixels.dtype).removeprefix('torch.')}: give floats in [0, 1]")
    return pixels.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


def video_tensor(video: Any) -> Float[Tensor, "B 3 F H W"]:
    """Any accepted video as pixels in [-1, 1].

    Args:
        video: tensor [B, F, 3, H, W] or [F, 3, H, W]; array [B, F, H, W, 3] or [F, H, W, 3]; a list of PIL images
            (one video) or of such lists. Floats in [0, 1] or uint8.

    Raises:
        InputError: another shape, type or range of values.
    """
    if isinstance(video, (list, tuple)):
        video = _array_of_images(video)
    if isinstance(video, np.ndarray):
        _check_shape(video.shape, colour_axis=-1, layout="[B, F, H, W, 3] or [F, H, W, 3]")
        video = torch.from_numpy(np.ascontiguousarray(video)).movedim(-1, -3)
    if not isinstance(video, Tensor):
        raise InputError(f"video of type {type(video).__name__}: give a tensor, an array or a list of PIL images")
    _check_shape(video.shape, colour_axis=-3, layout="[B, F, 3, H, W] or [F, 3, H, W]")
    video_BFCHW = video if video.ndim == 5 else video[None]
    return _signed(video_BFCHW).transpose(1, 2)


def refuse_other_than_8_bit(what: str, *videos: Tensor) -> None:
    """Raises `InputError` unless all are 8-bit frames [..., 3, H, W], which scores and extractors reckon with.

    Floats in [0, 1] taken for levels of 255 would score as two black videos do.
    """
    for video in videos:
        if video.dtype != torch.uint8:
            raise InputError(
                f"{what}: frames of dtype {str(video.dtype).removeprefix('torch.')}; give 8-bit frames,"
                " worldmodel.pixels.to_uint8 makes them of floats in [0, 1]"
            )
        if video.ndim < 3 or video.shape[-3] != 3:
            raise InputError(f"{what}: frames of shape {list(video.shape)}; give [..., 3, H, W]")


def present(video_BFCHW: Float[Tensor, "B F 3 H W"], output_type: str) -> Any:
    """Pixels in [0, 1] as "pt" (as they are), "np" [B, F, H, W, 3] or "pil" (a list of images per video)."""
    if output_type == "pt":
        return video_BFCHW
    video_BFHWC = video_BFCHW.movedim(2, -1).cpu().numpy()
    if output_type == "np":
        return video_BFHWC
    levels_BFHWC = np.rint(video_BFHWC * 255).astype(np.uint8)
    return [[Image.fromarray(frame_HWC) for frame_HWC in video_FHWC] for video_FHWC in levels_BFHWC]


def refuse_not_finite(tensor: Tensor, what: str) -> None:
    """Numbers beyond a dtype's range become junk frames, silently; raise `InputError` instead."""
    if not tensor.isfinite().all():
        raise InputError(
            f"{what} is not finite: use a checkpoint whose training did not diverge, and float32 or bfloat16 "
            "where float16 is too narrow"
        )


def _array_of_images(video: list[Any] | tuple[Any, ...]) -> np.ndarray:
    videos = [video] if video and isinstance(video[0], Image.Image) else video
    if not videos or not all(_are_images(frames) for frames in videos):
        raise InputError("video is an empty or mixed list: give a list of PIL images, or a list of such lists")
    images = [[np.asarray(image.convert("RGB")) for image in frames] for frames in videos]
    shapes = {(len(frames), *image.shape[:2]) for frames in images for image in frames}
    if len(shapes) > 1:
        sizes = ", ".join(f"{count} frames of {height}x{width}" for count, height, width in sorted(shapes))
        raise InputError(f"videos of different sizes ({sizes}): cut and resize them to one size")
    return np.stack([np.stack(frames) for frames in images])


def _are_images(frames: Any) -> bool:
    held = isinstance(frames, (list, tuple)) and len(frames) > 0
    return held and all(isinstance(image, Image.Image) for image in frames)


def _check_shape(shape: tuple[int, ...], colour_axis: int, layout: str) -> None:
    if len(shape) not in (4, 5) or shape[colour_axis] != 3 or 0 in shape:
        raise InputError(f"video of shape {list(shape)}: give {layout}")


def _signed(video: Tensor) -> Tensor:
    if video.dtype == torch.uint8:
        return signed_from_uint8(video)
    if not video.is_floating_point():
        raise InputError(f"video of dtype {video.dtype}: give floats in [0, 1] or uint8")
    low, high = (value.item() for value in video.aminmax())
    if not (low >= 0 and high <= 1):
        raise InputError(f"video with values from {low:.3g} to {high:.3g}: give floats in [0, 1] or uint8")
    return signed_from_unit(video.float())
