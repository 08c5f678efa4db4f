"""Wan 2.1's VAE over a whole sequence at once, equal to diffusers' loop over chunks of frames.

The loop hands the last frames of a chunk to the next as a cache. Over the whole sequence that is a causal convolution
with zeros before the first frame, except where time is resampled: the first frame passes by, the others are resampled
among themselves. The number of nodes then does not grow with the number of frames.

Shape legend: see `parts.py`; c channels within the VAE, T frames within it.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.errors import InputError
from worldmodel.export.graphs.copies import exchange, shared_copy
from worldmodel.export.graphs.parts import Chunk, Decoder, Encoder
from worldmodel.flow.noise import normal_like


class ChannelNorm(nn.Module):
    """diffusers' `WanRMS_norm` over the channels: the same numbers without expanding the divisor to x's size."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.scale, self.gamma, self.bias = norm.scale, norm.gamma, norm.bias

    def forward(self, x: Float[Tensor, "B c ..."]) -> Float[Tensor, "B c ..."]:
        wide = x.float()
        divisor = wide.norm(2, dim=1, keepdim=True).clamp_min(1e-12)
        scaled = (wide / divisor).to(x.dtype) * self.scale * self.gamma
        return scaled + self.bias if isinstance(self.bias, Tensor) else scaled


class WholeResample(nn.Module):
    """diffusers' `WanResample` over a whole sequence, for its four modes that resample."""

    def __init__(self, resample: Any) -> None:
        super().__init__()
        self.mode, self.resample = resample.mode, resample.resample
        if self.mode in ("upsample3d", "downsample3d"):
            self.time_conv = resample.time_conv
        if self.mode.startswith("upsample"):
            self.resample[0] = doubling()

    def forward(self, x: Float[Tensor, "B c T H W"]) -> Float[Tensor, "B d t h w"]:
        """Height and width are doubled or halved, and in the modes that end in 3d time as well."""
        if self.mode == "upsample3d" and x.shape[2] > 1:
            x = self._doubled_in_time(x)
        x = self._each_frame(x)
        if self.mode == "downsample3d" and x.shape[2] > 1:
            # Windows (0, 1, 2), (2, 3, 4), ... behind the first frame.
            x = torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)
        return x

    def _doubled_in_time(self, x: Tensor) -> Tensor:
        first, rest = x[:, :, :1], x[:, :, 1:]
        pairs = self.time_conv(rest).unflatten(1, (2, -1))  # [B, 2, c, T - 1, H, W]
        return torch.cat([first, torch.stack(pairs.unbind(1), dim=3).flatten(2, 3)], dim=2)

    def _each_frame(self, x: Tensor) -> Tensor:
        frames = self.resample(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class WanEncoderNetwork(nn.Module):
    """Pixels to moments."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder, self.quant_conv = whole_sequence(shared_copy(vae.encoder)), shared_copy(vae.quant_conv)

    def forward(self, pixels: Float[Tensor, "B 3 F H W"]) -> Float[Tensor, "B CC f h w"]:
        return self.quant_conv(self.encoder(pixels))


class WanDecoderNetwork(nn.Module):
    """Raw latents to pixels."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoder, self.post_quant_conv = whole_sequence(shared_copy(vae.decoder)), shared_copy(vae.post_quant_conv)

    def forward(self, raw: Float[Tensor, "B C f h w"]) -> Float[Tensor, "B 3 F H W"]:
        return self.decoder(self.post_quant_conv(raw)).clamp(-1, 1)


def wan_encoder(backbone: WanBackbone, chunk: Chunk) -> Encoder:
    """The encoder graph; where the conventions sample the source, with the noise of the pipeline's fixed seed.

    Raises `InputError` for a VAE that is not Wan 2.1's, and for a sampled source in a graph of free size.
    """
    check_vae(backbone.vae)
    if backbone.source == "mean":
        return Encoder(WanEncoderNetwork(backbone.vae), *statistics(backbone.vae))
    if chunk.dynamic:
        raise InputError(
            f"dynamic=true with conventions={backbone.conventions.name}: Wan's source is a sample whose noise has one "
            "size; export one artifact per size instead"
        )
    shape = (chunk.cameras, *backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width))
    noise_BCfhw = normal_like(torch.empty(shape), None)
    return Encoder(WanEncoderNetwork(backbone.vae), *statistics(backbone.vae), noise_BCfhw)


def wan_decoder(backbone: WanBackbone) -> Decoder:
    """The decoder graph over a whole chunk; raises `InputError` for a VAE that is not Wan 2.1's."""
    check_vae(backbone.vae)
    return Decoder(WanDecoderNetwork(backbone.vae), *statistics(backbone.vae))


def whole_sequence(network: Any) -> Any:
    """Exchange the resampling layers and norms of this encoder or decoder, a `shared_copy`."""
    return exchange(exchange(network, "WanResample", WholeResample), "WanRMS_norm", ChannelNorm)


def doubling() -> nn.Upsample:
    """Twice the height and width by repetition; at this scale the same as diffusers' nearest-exact, and one node."""
    return nn.Upsample(scale_factor=2.0, mode="nearest")


def check_vae(vae: Any) -> None:
    """Raise `InputError` for the residual, patched VAE of Wan 2.2."""
    if vae.config.get("is_residual") or vae.config.get("patch_size") is not None:
        raise InputError("vae of Wan 2.2 (is_residual, patch_size): export knows Wan 2.1's VAE; use that")


def statistics(vae: Any) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and standard deviation of raw latents, published in the VAE's config."""
    return torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)
