"""What Vista's network is told beside the noisy latents: the reference frame, twice, and three numbers; no action.

Source: Vista `vwm/modules/encoders/modules.py` and `sample_utils.py`.
Shape legend: B clips, F frames, C latent channels, h w latent height and width, H W pixels, T tokens (1), D their
width, R y x channels, height and width inside the network.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.benchmarks.methods.edm import denoised
from worldmodel.benchmarks.methods.vista_unet import VistaUNet
from worldmodel.pixels import unit_from_signed

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FRAME_RATE = 10.0  # what the network was trained to be told for nuScenes' 12 Hz
MOTION_BUCKET = 127.0
AUGMENTATION = 0.0


@dataclass(frozen=True)
class VistaCondition:
    """Of a batch of clips.

    Attributes:
        context_BTD: the reference frame's image embedding; zeros are none. Behind it there may be embedded actions.
        reference_BChw: its latents, not scaled; zeros are none.
        residuals_BRyx: by index of a UNet block, what is added behind its downsampler, the same for every frame.
    """

    context_BTD: Float[Tensor, "B T D"]
    reference_BChw: Float[Tensor, "B C h w"]
    residuals_BRyx: Mapping[int, Tensor] = field(default_factory=dict)

    def after(self, other: "VistaCondition") -> "VistaCondition":
        """Both in one batch, `other` first."""
        return VistaCondition(
            torch.cat([other.context_BTD, self.context_BTD]),
            torch.cat([other.reference_BChw, self.reference_BChw]),
            {at: torch.cat([other.residuals_BRyx[at], own]) for at, own in self.residuals_BRyx.items()},
        )

    def without(self) -> "VistaCondition":
        """The unconditional branch: neither image nor action; numbers and residuals stay."""
        context, reference = torch.zeros_like(self.context_BTD), torch.zeros_like(self.reference_BChw)
        return replace(self, context_BTD=context, reference_BChw=reference)


def denoise(
    unet: VistaUNet,
    x_BFChw: Float[Tensor, "B F C h w"],
    sigma_BF: Float[Tensor, "B F"],
    condition: VistaCondition,
    given_F: Float[Tensor, " F"],
) -> Float[Tensor, "B F C h w"]:
    """Clean latents as the UNet sees them in x; float32 in and out, the network in its own dtype."""
    batch, frames = sigma_BF.shape
    dtype = unet.conv_in.weight.dtype
    numbers_B3 = x_BFChw.new_tensor([FRAME_RATE - 1, MOTION_BUCKET, AUGMENTATION]).expand(batch, 3)
    reference_BFChw = condition.reference_BChw[:, None].expand(-1, frames, -1, -1, -1)
    context_BFTD = condition.context_BTD[:, None].expand(-1, frames, -1, -1).to(dtype)
    residuals = {at: value.repeat_interleave(frames, dim=0) for at, value in condition.residuals_BRyx.items()}

    def network(scaled_BFChw: Tensor, level_BF: Tensor) -> Tensor:
        sample_BFChw = torch.cat([scaled_BFChw, reference_BFChw], dim=2).to(dtype)
        conditioning = (context_BFTD, numbers_B3, given_F.expand(batch, frames), residuals)
        return unet(sample_BFChw, level_BF, *conditioning).to(x_BFChw.dtype)

    return denoised(network, x_BFChw, sigma_BF)


def image_embedding(image_encoder: Any, frame_BCHW: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 D"]:
    """The CLIP embedding of frames in [-1, 1], squashed to the encoder's square."""
    small_BCss = unit_from_signed(blurred_resize(frame_BCHW.float(), image_encoder.config.image_size))
    mean, std = (small_BCss.new_tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    pixels_BCss = ((small_BCss - mean) / std).to(next(image_encoder.parameters()).dtype)
    return image_encoder(pixels_BCss).image_embeds[:, None].float()


def blurred_resize(image_BCHW: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B C s s"]:
    """kornia's bicubic resize with antialias and aligned corners: first a Gaussian blur of the size of the shrinking.

    diffusers has the same in its Stable Video Diffusion pipeline, whose import asks for torchvision.
    """
    for axis in (2, 3):
        spread = max((image_BCHW.shape[axis] / side - 1) / 2, 0.001)
        reach = math.ceil((max(int(4 * spread), 3) - 1) / 2)
        offsets = torch.arange(-reach, reach + 1, dtype=image_BCHW.dtype, device=image_BCHW.device)
        kernel = torch.exp(-(offsets**2) / (2 * spread**2))
        kernel = (kernel / kernel.sum()).view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
        padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        channels = image_BCHW.shape[1]
        padded = F.pad(image_BCHW, padding, mode="reflect")
        image_BCHW = F.conv2d(padded, kernel.expand(channels, -1, -1, -1), groups=channels)
    return F.interpolate(image_BCHW, (side, side), mode="bicubic", align_corners=True)


def reference_latents(encoder: nn.Module, frame_BCHW: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
    """The reference frame by the conditioner's own encoder: the posterior's mean, not scaled."""
    return encoder(frame_BCHW.to(next(encoder.parameters()).dtype)).float()
