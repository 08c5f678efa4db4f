"""Rotary positions as constants, and self-attention that turns by them without scattered writes.

LTX and Wan turn neighbouring pairs of channels by the same formula. diffusers' Wan writes every second channel of an
empty tensor, which ONNX says as ScatterND and TensorRT cannot fuse; stacking the two halves gives the same numbers.

Shape legend: R rows, N tokens, D width, H heads, E width of a head, G = E / 2 pairs; C f h w latents.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from worldmodel.backbones.backbone import LatentGeometry

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [1, N, 1 or H, G]."""


def rotate(x_RNHE: Float[Tensor, "R N H E"], rotation: Rotation) -> Float[Tensor, "R N H E"]:
    """Turn each pair of channels; computed in the table's type, float32, and returned in that of `x_RNHE`."""
    cos_1NHG, sin_1NHG = rotation
    a_RNHG, b_RNHG = x_RNHE.unflatten(-1, (-1, 2)).unbind(-1)
    turned = (a_RNHG * cos_1NHG - b_RNHG * sin_1NHG, a_RNHG * sin_1NHG + b_RNHG * cos_1NHG)
    return torch.stack(turned, dim=-1).flatten(-2).to(x_RNHE.dtype)


class RotarySelfAttention:
    """An attention processor for diffusers' LTX and Wan self-attention, equal to their own bit for bit in float32."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        rotary_emb: Rotation | None = None,
    ) -> Tensor:
        """hidden_states [R, N, D] to [R, N, D]; LTX gives the rotation as fifth argument like Wan."""
        heads = (attn.heads, -1)
        query_RNHE = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, heads)
        key_RNHE = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, heads)
        value_RNHE = attn.to_v(hidden_states).unflatten(2, heads)
        if rotary_emb is not None:
            query_RNHE, key_RNHE = rotate(query_RNHE, rotary_emb), rotate(key_RNHE, rotary_emb)
        answer_RHNE = scaled_dot_product_attention(
            query_RNHE.transpose(1, 2).to(value_RNHE.dtype),
            key_RNHE.transpose(1, 2).to(value_RNHE.dtype),
            value_RNHE.transpose(1, 2),
        )
        return attn.to_out[0](answer_RHNE.transpose(1, 2).flatten(2))


class FixedRotation(nn.Module):
    """The rotation of one chunk size, as constants."""

    cos: Tensor
    sin: Tensor

    def __init__(self, rotation: Rotation) -> None:
        super().__init__()
        for name, table in zip(("cos", "sin"), rotation, strict=True):
            self.register_buffer(name, table.float().contiguous())

    def forward(self, latents_BCfhw: Tensor) -> Rotation:
        """The constants, whatever the latents."""
        return self.cos, self.sin


class LTXRotation(nn.Module):
    """LTX's rotation computed from the latents' size, for graphs of free size.

    Token positions as in `worldmodel.backbones.ltx.positions.frame_coords`: seconds, pixel rows, pixel columns.
    """

    def __init__(
        self, rope: nn.Module, heads: int, geometry: LatentGeometry, frame_rate: float, causal: bool = True
    ) -> None:
        super().__init__()
        self.rope, self.heads, self.causal = rope, heads, causal
        self.temporal, self.spatial, self.frame_rate = geometry.temporal, geometry.spatial, frame_rate

    def forward(self, latents_BCfhw: Tensor) -> Rotation:
        f, h, w = (torch.arange(size, dtype=torch.float32) for size in latents_BCfhw.shape[2:])
        start = (self.temporal * f + 1 - self.temporal).clamp(min=0) if self.causal else self.temporal * f
        seconds = start * (1.0 / self.frame_rate)
        grid = torch.meshgrid(seconds, self.spatial * h, self.spatial * w, indexing="ij")
        return self.of_coords(torch.stack([axis.flatten() for axis in grid])[None])

    def of_coords(self, coords_13N: Float[Tensor, "1 3 N"]) -> Rotation:
        """The rotation at these positions."""
        # diffusers repeats each angle for both channels of its pair; one of them is enough.
        cos_1ND, sin_1ND = self.rope(coords_13N, video_coords=coords_13N)
        return cos_1ND[..., 0::2].unflatten(2, (self.heads, -1)), sin_1ND[..., 0::2].unflatten(2, (self.heads, -1))


class WanRotation(nn.Module):
    """Wan's rotation computed from the latents' size, for graphs of free size."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope

    def forward(self, latents_BCfhw: Tensor) -> Rotation:
        cos_1N1E, sin_1N1E = self.rope(latents_BCfhw)
        return cos_1N1E[..., 0::2], sin_1N1E[..., 1::2]
