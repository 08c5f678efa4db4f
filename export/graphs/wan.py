"""Wan 2.1 as graphs: the velocity network with baked prompts; its VAE is in `wan_vae.py` and `wan_vae_stream.py`.

Shape legend: see `parts.py`; N tokens, D width, p q r the transformer's patch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.export.graphs.copies import shared_copy, wide_copy
from worldmodel.export.graphs.parts import BakedPrompts, Chunk, Step
from worldmodel.export.graphs.prompt import baked_cross_attention, zero_padded_tokens
from worldmodel.export.graphs.rope import FixedRotation, RotarySelfAttention, WanRotation
from worldmodel.export.graphs.wan_vae import wan_decoder, wan_encoder


class Patches(nn.Linear):
    """Wan's patch embedding, a convolution that moves by its own size, as a linear layer on each patch.

    The same numbers up to rounding; ONNX has no bf16 convolution before opset 22. Shares the convolution's weights.
    """

    def __init__(self, convolution: Any) -> None:
        weight_DI = convolution.weight.flatten(1)
        super().__init__(weight_DI.shape[1], weight_DI.shape[0], device="meta")
        self.patch = tuple(convolution.kernel_size)
        self.weight = nn.Parameter(weight_DI, requires_grad=False)
        self.bias = nn.Parameter(convolution.bias, requires_grad=False)

    def forward(self, latents: Float[Tensor, "R C f h w"]) -> Float[Tensor, "R N D"]:
        """Tokens in the order time, row, column."""
        p, q, r = self.patch
        split = latents.unflatten(4, (-1, r)).unflatten(3, (-1, q)).unflatten(2, (-1, p))  # R C f p h q w r
        return super().forward(split.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3))


class WanNetwork(nn.Module):
    """`WanTransformer3DModel` with baked prompts; shares that model's weights."""

    float32_names = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")
    """As diffusers' own `_keep_in_fp32_modules`."""

    def __init__(self, transformer: Any, prompts: BakedPrompts, text_length: int, rotation: nn.Module) -> None:
        super().__init__()
        own, tokens = shared_copy(transformer), zero_padded_tokens(prompts.prompts, text_length)
        embedder = own.condition_embedder
        self.patch_embedding, self.rotation = Patches(own.patch_embedding), rotation
        self.timesteps_proj, self.time_embedder = embedder.timesteps_proj, embedder.time_embedder
        self.time_proj, self.blocks = embedder.time_proj, own.blocks
        self.norm_out, self.proj_out, self.scale_shift_table = own.norm_out, own.proj_out, own.scale_shift_table
        context_PLD = wide_copy(embedder.text_embedder)(tokens.embeds_PLD)
        for block in self.blocks:
            block.attn1.set_processor(RotarySelfAttention())
            block.attn2 = baked_cross_attention(block.attn2, context_PLD, tokens.bias_PL)

    def forward(self, latents: Float[Tensor, "R C f h w"], timestep: Float[Tensor, "1"]) -> Float[Tensor, "R C f h w"]:
        """The velocity, in the network's own type."""
        embedded_1D = self.time_embedder(self.timesteps_proj(timestep))
        modulation_16D = self.time_proj(silu(embedded_1D)).unflatten(1, (6, -1))
        rotation = self.rotation(latents)
        hidden_RND = self.patch_embedding(latents)
        for block in self.blocks:
            hidden_RND = block(hidden_RND, None, modulation_16D, rotation)
        shift_11D, scale_11D = (self.scale_shift_table + embedded_1D[:, None]).chunk(2, dim=1)
        normed_RND = (self.norm_out(hidden_RND.float()) * (1 + scale_11D) + shift_11D).to(hidden_RND.dtype)
        return self._unpatched(self.proj_out(normed_RND), latents.shape[2:])

    def _unpatched(self, tokens: Tensor, sizes: torch.Size) -> Float[Tensor, "R C f h w"]:
        patch = self.patch_embedding.patch
        counts = [size // unit for size, unit in zip(sizes, patch, strict=True)]
        patches = tokens.unflatten(2, (*patch, -1)).unflatten(1, counts)  # R f h w p q r C
        return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def wan_step(backbone: WanBackbone, chunk: Chunk, prompts: BakedPrompts) -> Step:
    """One guided evaluation at the chunk's size."""
    rotation: nn.Module = WanRotation(backbone.transformer.rope)
    if not chunk.dynamic:
        shape = backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width)
        rotation = FixedRotation(rotation(torch.zeros(1, *shape)))
    assert backbone.text_length is not None, "Wan pads every prompt"
    network = WanNetwork(backbone.transformer, prompts, backbone.text_length, rotation)
    return Step(network, len(prompts.prompts), prompts.scale, backbone.whole_timesteps)


def wan_parts(backbone: WanBackbone, chunk: Chunk, prompts: BakedPrompts) -> dict[str, Callable[[], nn.Module]]:
    """Makers of the modules of an artifact's parts; the family's record in `worldmodel.models.families` names this."""
    return {
        "encoder": partial(wan_encoder, backbone, chunk),
        "step": partial(wan_step, backbone, chunk, prompts),
        "decoder": partial(wan_decoder, backbone),
    }
