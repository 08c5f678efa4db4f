"""Features for machines without any published extractor: latents of the shipped tiny VAE.

The Fréchet distance on them is printed as `FD[worldmodel-tiny-vae]`. It is neither FID nor FVD and compares with
neither: the VAE has seen the toy world only. It sees texture, colour and short motion (a latent is 4 frames of 16 x 16
pixels), and nothing of what a scene means.

Shape legend: B clips, F frames, C latent channels, H height, W width; f, h, w count latents.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.hashes import known_hash
from worldmodel.errors import InputError
from worldmodel.files import file_sha256
from worldmodel.pixels import signed_from_uint8

NAME = "worldmodel-tiny-vae"
SIZE = (128, 192)


class TinyFeatures(Extractor):
    """One row per latent: its normalised posterior mean, 64 channels."""

    title = "FD"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Load the shipped VAE, in float32."""
        from diffusers import AutoencoderKLLTXVideo

        from worldmodel.backbones.components import load_component
        from worldmodel.backbones.weights import align_weights
        from worldmodel.checkpoints import shipped

        folder = shipped("tiny") / "vae"
        vae = load_component(AutoencoderKLLTXVideo, folder, torch.float32, device)
        align_weights(vae)
        self.name, self.network, self.widths = NAME, vae, (int(vae.config.latent_channels),)
        self._temporal, self._spatial = vae.temporal_compression_ratio, vae.spatial_compression_ratio
        sha256 = known_hash("sha256", folder / "diffusion_pytorch_model.safetensors", file_sha256)
        self.made_with = Protocol(NAME, sha256, resize=f"bilinear squash to {SIZE[0]}x{SIZE[1]}", antialias=True)

    def rows(self, frames: int) -> int:
        """Latents of a clip; raises `InputError` for a number of frames that has none."""
        if (frames - 1) % self._temporal:
            raise InputError(f"{NAME} of {frames} frames: it needs {self._temporal}k+1 frames; leave this metric out")
        return ((frames - 1) // self._temporal + 1) * (SIZE[0] // self._spatial) * (SIZE[1] // self._spatial)

    def extract(self, frames_BFCHW: UInt8[Tensor, "B F 3 H W"]) -> dict[int, Float[Tensor, "B R C"]]:
        """Latents of every clip."""
        clips = [self._latents(clip_FCHW.float()) for clip_FCHW in frames_BFCHW]
        return {self.widths[0]: torch.stack(clips)}

    def _latents(self, clip_FCHW: Float[Tensor, "F 3 H W"]) -> Float[Tensor, "R C"]:
        small_FCHW = functional.interpolate(clip_FCHW, SIZE, mode="bilinear", antialias=True)
        mean_1Cfhw = self.network.encode(signed_from_uint8(small_FCHW.transpose(0, 1)[None])).latent_dist.mean  # type: ignore[operator]
        centre_C, scale_C = self.network.latents_mean, self.network.latents_std
        latents_CR = mean_1Cfhw[0].flatten(1)
        return ((latents_CR.T - centre_C) / scale_C).float()  # type: ignore[operator]
