"""LTX-Video's VAE as graphs, its decoder at one timestep.

What the fixed decode timestep makes constant is computed here, once: the time embeddings and the noise.

Shape legend: see `parts.py`; c channels and T frames within the VAE, D width of a time embedding.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.errors import InputError
from worldmodel.export.graphs.copies import exchange, shared_copy, wide_copy
from worldmodel.export.graphs.parts import Chunk, Decoder, Encoder
from worldmodel.export.graphs.patches import FromPatches, ToPatches


class RepeatedEnds(nn.Module):
    """diffusers' `LTXVideoCausalConv3d`: the same numbers by one Concat, where `repeat` becomes Expand and Tile."""

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        missing = convolution.kernel_size[0] - 1
        self.conv, self.after = convolution.conv, 0 if convolution.is_causal else missing // 2
        self.before = missing - self.after

    def forward(self, x: Float[Tensor, "B c T H W"]) -> Float[Tensor, "B d T H W"]:
        """c channels to d."""
        frames = [x[:, :, :1]] * self.before + [x] + [x[:, :, -1:]] * self.after
        return self.conv(torch.cat(frames, dim=2) if len(frames) > 1 else x)


class FixedTimeEmbedding(nn.Module):
    """Stands in for a decoder's time embedder: what that gives for one timestep."""

    def __init__(self, embedding_1D: Float[Tensor, "1 D"]) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding_1D.clone(), requires_grad=False)

    def forward(self, batch_size: int, hidden_dtype: torch.dtype, **unused: Any) -> Float[Tensor, "B D"]:
        return self.embedding.to(hidden_dtype).expand(batch_size, -1)


class LTXEncoderNetwork(nn.Module):
    """The VAE's encoder; shares that VAE's weights."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder = exchange(shared_copy(vae.encoder), "LTXVideoCausalConv3d", RepeatedEnds)
        self.patches = ToPatches(self.encoder.patch_size)
        self.encoder.patch_size = 1

    def forward(self, pixels: Float[Tensor, "B 3 F H W"]) -> Float[Tensor, "B m f h w"]:
        """m channels of moments."""
        return self.encoder(self.patches(pixels))


class LTXDecoderNetwork(nn.Module):
    """The VAE's decoder at one decode timestep (None where it takes none); shares that VAE's weights."""

    def __init__(self, vae: Any, timestep: float | None) -> None:
        super().__init__()
        self.decoder = exchange(shared_copy(vae.decoder), "LTXVideoCausalConv3d", RepeatedEnds)
        self.pixels = FromPatches(self.decoder.patch_size)
        self.decoder.patch_size = 1
        if timestep is None:
            return
        scaled_1 = torch.tensor([timestep]) * self.decoder.timestep_scale_multiplier.float()
        self.decoder.timestep_scale_multiplier = None
        for module in list(self.decoder.modules()):
            embedder = getattr(module, "time_embedder", None)
            if embedder is not None:
                fixed_1D = wide_copy(embedder)(scaled_1, None, None, 1, torch.float32)
                module.time_embedder = FixedTimeEmbedding(fixed_1D)

    def forward(self, raw: Float[Tensor, "B C f h w"]) -> Float[Tensor, "B 3 F H W"]:
        # The fixed embedders look at nothing but the type of what they are given.
        return self.pixels(self.decoder(raw, raw.new_zeros(())))


def ltx_encoder(backbone: LTXBackbone) -> Encoder:
    """The encoder graph of any size."""
    return Encoder(LTXEncoderNetwork(backbone.vae), *_statistics(backbone))


def ltx_decoder(backbone: LTXBackbone, chunk: Chunk) -> Decoder:
    """The decoder graph with the pipeline's decode timestep and its noise of the fixed seed.

    Raises:
        InputError: a decoder that draws noise in its layers, or one whose noise has a fixed size in a dynamic graph.
    """
    config = backbone.vae.config
    if any(config.decoder_inject_noise):
        raise InputError("vae with decoder_inject_noise: it draws random numbers as it decodes; use LTX-Video 0.9.5")
    if not config.timestep_conditioning:
        return Decoder(LTXDecoderNetwork(backbone.vae, None), *_statistics(backbone))
    if chunk.dynamic:
        raise InputError("dynamic=true: this decoder mixes in noise of one size; export one artifact per size instead")
    shape = (1, *backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width))
    noise_1Cfhw = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0))
    network = LTXDecoderNetwork(backbone.vae, backbone.decode_timestep)
    return Decoder(network, *_statistics(backbone), noise_1Cfhw, backbone.decode_noise_scale)


def _statistics(backbone: LTXBackbone) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean, and standard deviation over scaling factor, of raw latents."""
    vae = backbone.vae
    return vae.latents_mean.float(), vae.latents_std.float() / vae.config.scaling_factor
