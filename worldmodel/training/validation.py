"""Held-out pairs predicted while training: PSNR against repeating the last frame, the loss, and a picture to look at.

Shape legend: F frames, H height, W width, 3 colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from worldmodel.measure.frame_scores import psnr_per_frame, repeat_last
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import to_uint8
from worldmodel.training.captions import CaptionEncoder
from worldmodel.training.chunks import Pairs
from worldmodel.training.config import ValidationConfig

IN_PICTURE = 4  # pairs


@dataclass(frozen=True)
class Validation:
    """Figures to log, and the picture: a row per pair, its last observed frame, then truth and prediction by turns."""

    figures: dict[str, float]
    picture: Image.Image


def validate(
    config: ValidationConfig, pipeline: FlowFramesPipeline, pairs: Pairs, captions: CaptionEncoder | None = None
) -> Validation:
    """Predict `config.pairs` pairs with the weights that `pipeline` has now, by their captions if asked."""
    numbers = np.linspace(0, len(pairs) - 1, min(config.pairs, len(pairs))).round().astype(int).tolist()
    above, psnrs, rows = [], [], []
    for number in numbers:
        pair = pairs[number]
        observed, future = (chunk.transpose(0, 1)[None] for chunk in pair.both_chunks())
        prompt = None if captions is None else captions([pair.caption])
        output: Any = pipeline(
            observed,
            num_inference_steps=config.evaluations,
            frame_rate=pair.frame_rate,
            prompt_embeds=None if prompt is None else prompt.embeds_BLD,
            prompt_mask=None if prompt is None else prompt.mask_BL,
        )
        predicted = to_uint8(output.frames)
        psnr = float(psnr_per_frame(predicted, future).mean())
        psnrs.append(psnr)
        above.append(psnr - float(psnr_per_frame(repeat_last(observed, future.shape[1]), future).mean()))
        rows.append(_row(observed[0], future[0], predicted[0]))
    figures = {"validation_psnr_db": float(np.mean(psnrs)), "validation_above_repeating_db": float(np.mean(above))}
    return Validation(figures, Image.fromarray(np.concatenate(rows[:IN_PICTURE])))


def _row(
    observed_FCHW: UInt8[Tensor, "F 3 H W"],
    future_FCHW: UInt8[Tensor, "F 3 H W"],
    predicted_FCHW: UInt8[Tensor, "F 3 H W"],
) -> UInt8[np.ndarray, "H w 3"]:
    frames = [observed_FCHW[-1]]
    for at in (len(future_FCHW) // 3, len(future_FCHW) - 1):
        frames += [future_FCHW[at], predicted_FCHW[at]]
    return torch.cat(frames, dim=2).permute(1, 2, 0).numpy()
