"""Rotary self-attention without scattered writes against diffusers' own, and its tables against the backbones'."""

import pytest
import torch
from diffusers.models.transformers.transformer_ltx import LTXAttention, LTXVideoRotaryPosEmbed
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor, WanRotaryPosEmbed

from worldmodel.backbones.backbone import LatentGeometry
from worldmodel.backbones.ltx.positions import frame_coords, video_coords
from worldmodel.export.graphs.copies import shared_copy
from worldmodel.export.graphs.rope import FixedRotation, LTXRotation, RotarySelfAttention, WanRotation

LATENTS = torch.zeros(1, 4, 3, 4, 6)
TOKENS = 3 * 4 * 6


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_wan_is_equal_bit_for_bit() -> None:
    attention = WanAttention(48, heads=2, dim_head=24, processor=WanAttnProcessor()).eval()
    rope = WanRotaryPosEmbed(24, (1, 1, 1), 64)
    x = torch.randn(2, TOKENS, 48)
    expected = attention(x, None, None, rope(LATENTS))
    turned = shared_copy(attention)
    turned.set_processor(RotarySelfAttention())
    assert torch.equal(turned(x, None, None, WanRotation(rope)(LATENTS)), expected)


@torch.no_grad()
@pytest.mark.parametrize("width", [24, 32])  # 32 is no multiple of 6: diffusers pads the table
def test_ltx_is_equal_bit_for_bit(width: int) -> None:
    attention = LTXAttention(width, heads=2, kv_heads=2, dim_head=width // 2).eval()
    rope, x = LTXVideoRotaryPosEmbed(width), torch.randn(2, TOKENS, width)
    coords = video_coords(frame_coords((3, 4, 6), 8, 32, 0, torch.device("cpu")), 10.0)
    expected = attention(x, image_rotary_emb=rope(x, video_coords=coords))
    turned = shared_copy(attention)
    turned.set_processor(RotarySelfAttention())
    rotation = LTXRotation(rope, 2, LatentGeometry(128, temporal=8, spatial=32), frame_rate=10.0)
    assert torch.equal(turned(x, image_rotary_emb=rotation.of_coords(coords)), expected)
    for found, own in zip(rotation(LATENTS), rotation.of_coords(coords), strict=True):
        torch.testing.assert_close(found, own, rtol=0, atol=2e-6)


def test_fixed_tables_are_constants_of_the_module() -> None:
    fixed = FixedRotation(WanRotation(WanRotaryPosEmbed(24, (1, 1, 1), 64))(LATENTS))
    assert {name for name, _ in fixed.named_buffers()} == {"cos", "sin"}
    assert fixed.cos.shape == (1, TOKENS, 1, 12) and fixed(LATENTS)[1] is fixed.sin
