"""Frames to latents and back with the VAE of Stable Video Diffusion, in the portions that Vista and GEM use.

Source: Vista `vwm/models/diffusion.py`: 14 frames are encoded at a time; decoding runs in windows of 14 frames that
share 3 with the one before, of which the mean is kept.
Shape legend: B clips, F frames, H W pixels, C latent channels, h w latent height and width, N = B * F.
"""

import torch
from diffusers import AutoencoderKLTemporalDecoder
from jaxtyping import Float
from torch import Tensor

WINDOW = 14
OVERLAP = 3


def encode(
    vae: AutoencoderKLTemporalDecoder,
    video_BFCHW: Float[Tensor, "B F 3 H W"],
    noise_BFChw: Float[Tensor, "B F C h w"],
) -> Float[Tensor, "B F C h w"]:
    """Scaled float32 latents, drawn from the posterior with the standard normal `noise_BFChw`, frame by frame."""
    parts = []
    for frames_NCHW in video_BFCHW.flatten(0, 1).to(vae.dtype).split(WINDOW):
        posterior = vae.encode(frames_NCHW).latent_dist
        parts.append((posterior.mean.float(), posterior.std.float()))
    mean_NChw, std_NChw = (torch.cat(values) for values in zip(*parts, strict=True))
    drawn_NChw = mean_NChw + std_NChw * noise_BFChw.flatten(0, 1).to(mean_NChw)
    return vae.config.scaling_factor * drawn_NChw.unflatten(0, video_BFCHW.shape[:2])


def decode(vae: AutoencoderKLTemporalDecoder, latents_BFChw: Float[Tensor, "B F C h w"]) -> Float[Tensor, "B F 3 H W"]:
    """Scaled latents to float32 pixels, about [-1, 1] (not clamped)."""
    batch, frames = latents_BFChw.shape[:2]
    raw_BFChw = (latents_BFChw / vae.config.scaling_factor).to(vae.dtype)
    video: list[Tensor] = []
    for start in range(0, max(1, frames - OVERLAP), WINDOW - OVERLAP):
        window_BFChw = raw_BFChw[:, start : start + WINDOW]
        count = window_BFChw.shape[1]
        part = vae.decode(window_BFChw.flatten(0, 1), count).sample.float().unflatten(0, (batch, count))
        if video:
            video[-1][:, -OVERLAP:] = (video[-1][:, -OVERLAP:] + part[:, :OVERLAP]) / 2
            part = part[:, OVERLAP:]
        video.append(part)
    return torch.cat(video, dim=1)
