"""Where LTX-Video's tokens lie in time and in the picture, which its rotary embedding is told.

Source: diffusers 0.42 `pipelines/ltx/pipeline_ltx_condition.py`. Shape legend: f, h, w count latents;
N tokens = f * h * w; 3 = (time, row, column).
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import FrameRate


@lru_cache(maxsize=64)
def frame_coords(
    latent_shape_fhw: tuple[int, int, int],
    temporal: int,
    spatial: int,
    first_frame: int,
    device: torch.device,
    causal: bool = True,
) -> Float[Tensor, "1 3 N"]:
    """Where each token lies: (frame, pixel row, pixel column) of its first frame and upper left corner.

    Latent k > 0 starts at frame `temporal * k + 1 - temporal` because latent 0 covers one frame only (the causal
    fix); without it at `temporal * k`, as the plain text-to-video pipeline has it. Cached: treat the result as
    read-only.
    """
    # A tensor born in inference mode could not be used by a later training step.
    with torch.inference_mode(False):
        f, h, w = (torch.arange(size, device=device) for size in latent_shape_fhw)
        # Latent 0 is one frame, all others `temporal`: without the shift they would lie `temporal` - 1 frames late.
        start = (temporal * f + 1 - temporal).clamp(min=0) if causal else temporal * f
        frame = start.float() + first_frame
        grid = torch.meshgrid(frame, (spatial * h).float(), (spatial * w).float(), indexing="ij")
        return torch.stack(grid).flatten(1)[None]


def video_coords(frame_coords_13N: Float[Tensor, "1 3 N"], frame_rate: FrameRate) -> Float[Tensor, "#B 3 N"]:
    """The same with seconds in place of frames: equal to what `LTXConditionPipeline` passes to the transformer."""
    # 1 / rate in float64 and rounded once, as where upstream multiplies by a Python number.
    rate_B = torch.as_tensor(frame_rate, dtype=torch.float64).reshape(-1)
    scale_B31 = torch.ones(len(rate_B), 3, 1, dtype=torch.float64)
    scale_B31[:, 0, 0] = 1.0 / rate_B.cpu()
    return frame_coords_13N * scale_B31.to(frame_coords_13N)
