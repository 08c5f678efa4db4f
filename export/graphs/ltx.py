"""LTX-Video (2B 0.9.5 and its tiny relatives) as graphs: the velocity network; the VAE is in `ltx_vae.py`.

What a fixed prompt and a fixed size make constant is computed here, once: cross-attention's keys and values, and rotary
positions.

Shape legend: see `parts.py`; N tokens = f * h * w, D width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.export.graphs.copies import shared_copy, wide_copy
from worldmodel.export.graphs.ltx_vae import ltx_decoder, ltx_encoder
from worldmodel.export.graphs.parts import BakedPrompts, Chunk, Step
from worldmodel.export.graphs.prompt import baked_cross_attention, masked_tokens
from worldmodel.export.graphs.rope import FixedRotation, LTXRotation, RotarySelfAttention


class LTXNetwork(nn.Module):
    """`LTXVideoTransformer3DModel` on latents instead of tokens, with baked prompts; shares that model's weights."""

    float32_names = ("time_embed.emb",)
    """Modules that stay in float32 in every precision, besides norms: the timestep is exact."""

    def __init__(self, transformer: Any, prompts: BakedPrompts, rotation: nn.Module) -> None:
        super().__init__()
        own, tokens = shared_copy(transformer), masked_tokens(prompts.prompts)
        self.proj_in, self.time_embed, self.rotation = own.proj_in, own.time_embed, rotation
        self.transformer_blocks = own.transformer_blocks
        self.norm_out, self.proj_out, self.scale_shift_table = own.norm_out, own.proj_out, own.scale_shift_table
        context_PLD = wide_copy(own.caption_projection)(tokens.embeds_PLD)
        for block in self.transformer_blocks:
            block.attn1.set_processor(RotarySelfAttention())
            block.attn2 = baked_cross_attention(block.attn2, context_PLD, tokens.bias_PL)

    def forward(self, latents: Float[Tensor, "R C f h w"], timestep: Float[Tensor, "1"]) -> Float[Tensor, "R C f h w"]:
        """The velocity, in the network's own type."""
        hidden_RND = self.proj_in(latents.flatten(2).transpose(1, 2))
        modulation_1D, embedded_1D = self.time_embed(timestep, batch_size=1, hidden_dtype=torch.float32)
        rows = (hidden_RND.shape[0], -1, -1)
        modulation_R1D = modulation_1D[:, None].to(hidden_RND.dtype).expand(rows)
        rotation = self.rotation(latents)
        for block in self.transformer_blocks:
            hidden_RND = block(hidden_RND, None, modulation_R1D, rotation)
        table_112D = self.scale_shift_table[None, None] + embedded_1D[:, None, None].to(hidden_RND.dtype)
        shift_11D, scale_11D = table_112D.unbind(2)
        tokens_RNC = self.proj_out(self.norm_out(hidden_RND) * (1 + scale_11D) + shift_11D)
        return tokens_RNC.transpose(1, 2).reshape(latents.shape)


def ltx_step(backbone: LTXBackbone, chunk: Chunk, prompts: BakedPrompts) -> Step:
    """One guided evaluation at the chunk's size and frame rate."""
    transformer, geometry = backbone.transformer, backbone.geometry
    heads = transformer.config.num_attention_heads
    causal = backbone.conventions.positions == "causal"
    rotation = LTXRotation(transformer.rope, heads, geometry, chunk.told_rate, causal)
    if chunk.dynamic:
        return Step(LTXNetwork(transformer, prompts, rotation), len(prompts.prompts), prompts.scale)
    like_1Cfhw = torch.zeros(1, *geometry.latent_shape(chunk.frames, chunk.height, chunk.width))
    fixed = FixedRotation(rotation.of_coords(backbone.video_coords(like_1Cfhw, chunk.told_rate)))
    return Step(LTXNetwork(transformer, prompts, fixed), len(prompts.prompts), prompts.scale)


def ltx_parts(backbone: LTXBackbone, chunk: Chunk, prompts: BakedPrompts) -> dict[str, Callable[[], nn.Module]]:
    """Makers of the modules of an artifact's parts; the family's record in `worldmodel.models.families` names this."""
    return {
        "encoder": partial(ltx_encoder, backbone),
        "step": partial(ltx_step, backbone, chunk, prompts),
        "decoder": partial(ltx_decoder, backbone, chunk),
    }
