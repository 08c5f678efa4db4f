"""Dissolves and fades: stretches whose pictures are mixtures of what was before and what comes after.

In a dissolve, the picture in the middle is the mean of one some frames before and one as many frames after, pixel by
pixel, although these two are unlike: of two shots, or one of them is black or white. Where the camera moves, the
pictures are unlike as well, but the one between them is no mean of them.

Legend: F frames, H height, W width of small grey pictures; P their pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

BLOCK = 2000  # frames looked at together, for memory
STILL = 8  # levels of 255; pixels that change less in the whole video are bars or captions


@dataclass(frozen=True)
class DissolveRule:
    """When a frame lies in a dissolve or a fade.

    The defaults found none in 23 real videos without any, and 85 to 89 % of dissolves of 6 to 24 frames between random
    stretches of them, also of one video with itself (63 to 80 % where all goes three times as fast); see
    `benchmarks/studies/scene_cuts.py`.

    Attributes:
        spans: how many frames before and after are compared, the fewest first; any one of them suffices.
        change: least mean difference of the two, in levels of 255.
        residual: most difference of the middle from their mean, as a share of their own difference. wide_residual: the
            same of frames twice as far.
        likeness: most correlation of two shots. contrast: or, most contrast of the flatter picture (of a fade), as a
            share of the other's.
    """

    spans: tuple[int, ...] = (4, 8, 12)
    change: float = 8.0
    residual: float = 0.3
    wide_residual: float = 0.4
    likeness: float = 0.6
    contrast: float = 0.2


def dissolves(small_FHW: UInt8[np.ndarray, "F H W"], cuts: Sequence[int], rule: DissolveRule) -> list[range]:
    """Stretches of frames in a dissolve or a fade, none of them across one of the hard `cuts`."""
    frames = len(small_FHW)
    changing = small_FHW.max(0) - small_FHW.min(0) > STILL if frames else np.zeros((0, 0), bool)
    within = np.zeros(frames + 1, bool)
    for span in rule.spans if changing.any() else ():
        for first in range(0, frames - 2 * span, BLOCK):
            begin = max(0, first - span)
            pixels_FP = small_FHW[begin : first + BLOCK + 3 * span][:, changing].astype(np.float32)
            for middle in (np.flatnonzero(_mixed(pixels_FP, span, rule)) + begin + span).tolist():
                if not within[middle] and not any(middle - span < cut <= middle + span for cut in cuts):
                    within[middle - span : middle + span + 1] = True
    edges = np.flatnonzero(np.diff(within, prepend=False)).tolist()
    return [range(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _mixed(pixels_FP: Float32[np.ndarray, "F P"], span: int, rule: DissolveRule) -> Bool[np.ndarray, " M"]:
    """For every frame that has `span` frames on both sides, whether it is a mixture of the outer two.

    A slow move over fine texture is one too, but not of frames twice as far.
    """
    before, after = pixels_FP[: -2 * span], pixels_FP[2 * span :]
    change, residual = _change_and_residual(pixels_FP, span)
    wide = np.full_like(residual, np.inf)
    if len(pixels_FP) > 4 * span:
        wide[span:-span] = _change_and_residual(pixels_FP, 2 * span)[1]
    contrasts = np.stack([before.std(1), after.std(1)])
    product = ((before - before.mean(1, keepdims=True)) * (after - after.mean(1, keepdims=True))).mean(1)
    unlike = (product < rule.likeness * contrasts.prod(0)) & (wide <= rule.wide_residual)
    fading = contrasts.min(0) < rule.contrast * contrasts.max(0)
    mixed: np.ndarray = (change >= rule.change) & (residual <= rule.residual) & (unlike | fading)
    return mixed


def _change_and_residual(pixels_FP: Float32[np.ndarray, "F P"], span: int) -> tuple[np.ndarray, np.ndarray]:
    before, middle, after = pixels_FP[: -2 * span], pixels_FP[span:-span], pixels_FP[2 * span :]
    change = np.abs(before - after).mean(1)
    return change, np.abs(middle - (before + after) / 2).mean(1) / np.maximum(change, 1e-3)
