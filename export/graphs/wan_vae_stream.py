"""Wan 2.1's decoder one latent frame at a time, so that memory does not grow with the number of frames.

Two graphs: `first` decodes latent frame 0 to one frame, `next` each later one to as many as the VAE's temporal ratio.
What diffusers' loop keeps between chunks (the last two frames that each causal convolution saw) goes out of one call
and into the next, in the order in which the decoder meets the convolutions. Missing history is zeros there, so every
cache has two frames from the start.

Shape legend: see `parts.py`; c channels within the VAE, T frames within it.
"""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import pad

from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.export.graphs.copies import exchange, shared_copy
from worldmodel.export.graphs.parts import Decoder, to_video
from worldmodel.export.graphs.wan_vae import ChannelNorm, check_vae, doubling, statistics

HISTORY = 2  # frames that a causal convolution of length 3 looks back


class StreamedResample(nn.Module):
    """diffusers' upsampling `WanResample` with zeros where that keeps a word for missing history."""

    def __init__(self, resample: Any) -> None:
        super().__init__()
        self.mode, self.resample = resample.mode, resample.resample
        self.resample[0] = doubling()
        if self.mode == "upsample3d":
            self.time_conv = resample.time_conv

    def forward(self, x: Tensor, feat_cache: list[Tensor | None], feat_idx: list[int]) -> Tensor:
        """x [B, c, T, H, W]; T stays for the first latent frame and doubles for the others (in mode upsample3d)."""
        if self.mode == "upsample3d":
            place = feat_idx[0]
            feat_idx[0] += 1
            history = feat_cache[place]
            if history is None:
                feat_cache[place] = torch.zeros_like(x).repeat(1, 1, HISTORY, 1, 1)
            else:
                feat_cache[place] = torch.cat([history, x], dim=2)[:, :, -HISTORY:]
                pairs = self.time_conv(x, history).unflatten(1, (2, -1))
                x = torch.stack(pairs.unbind(1), dim=3).flatten(2, 3)
        frames = self.resample(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class FirstFrame(nn.Module):
    """Latent frame 0 to one frame, with the caches behind it."""

    def __init__(self, border: Decoder) -> None:
        """`border` denormalises; its network is a `StreamedNetwork`."""
        super().__init__()
        self.border = border
        self.input_names = ("latents",)
        self.output_names = ("video", *(f"cache_{place}" for place in range(_caches(border.network))))

    def forward(self, latents: Float[Tensor, "B C 1 h w"]) -> tuple[Tensor, ...]:
        """uint8 video [B, 1, H, W, 3], then the caches [B, c, 2, height, width] in the network's own type."""
        pixels, caches = self.border.network(self.border.raw(latents), None)
        padded = [pad(cache, (0, 0, 0, 0, HISTORY - cache.shape[2], 0)) for cache in caches]
        return (to_video(pixels), *padded)


class NextFrames(nn.Module):
    """A later latent frame and the caches in front of it to its frames, with the caches behind them."""

    def __init__(self, border: Decoder) -> None:
        super().__init__()
        self.border = border
        places = range(_caches(border.network))
        self.input_names = ("latents", *(f"cache_{place}" for place in places))
        self.output_names = ("video", *(f"next_cache_{place}" for place in places))

    def forward(self, latents: Float[Tensor, "B C 1 h w"], caches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """As `FirstFrame`, with the caches that the call before gave."""
        pixels, caches = self.border.network(self.border.raw(latents), caches)
        return (to_video(pixels), *caches)


class StreamedNetwork(nn.Module):
    """diffusers' decoder on one latent frame, with its caches as inputs and outputs; shares that VAE's weights."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        decoder = exchange(shared_copy(vae.decoder), "WanResample", StreamedResample)
        self.decoder = exchange(decoder, "WanRMS_norm", ChannelNorm)
        self.post_quant_conv = shared_copy(vae.post_quant_conv)

    def forward(self, raw: Tensor, caches: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """raw [B, C, 1, h, w] to pixels in [-1, 1] and the caches; `caches` is None for latent frame 0."""
        kept: list[Any] = [None] * _caches(self) if caches is None else list(caches)
        first = caches is None
        pixels = self.decoder(self.post_quant_conv(raw), feat_cache=kept, feat_idx=[0], first_chunk=first)
        return pixels.clamp(-1, 1), tuple(kept)


def _caches(network: nn.Module) -> int:
    """How many convolutions look back in time."""
    return sum(isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1 for module in network.modules())


@torch.no_grad()
def streamed(
    first: FirstFrame, following: NextFrames, latents: Float[Tensor, "B C f h w"]
) -> UInt8[Tensor, "B F H W 3"]:
    """A whole chunk through the pair."""
    video, *caches = first(latents[:, :, :1])
    videos = [video]
    for place in range(1, latents.shape[2]):
        video, *caches = following(latents[:, :, place : place + 1], tuple(caches))
        videos.append(video)
    return torch.cat(videos, dim=1)


def example_caches(module: FirstFrame | NextFrames, latents: Float[Tensor, "B C 1 h w"]) -> tuple[Tensor, ...]:
    """Zeros in the shapes and the type that `module` hands on, found without computing anything."""
    first = FirstFrame(module.border)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        shapes = [(cache.shape, cache.dtype) for cache in first(torch.zeros(latents.shape))[1:]]
    return tuple(torch.zeros(shape, dtype=dtype) for shape, dtype in shapes)


def wan_stream(backbone: WanBackbone) -> tuple[FirstFrame, NextFrames]:
    """The streaming pair; raises `InputError` for a VAE that is not Wan 2.1's."""
    check_vae(backbone.vae)
    border = Decoder(StreamedNetwork(backbone.vae), *statistics(backbone.vae))
    return FirstFrame(border), NextFrames(border)
