"""Baked cross-attention against diffusers' own on whole prompts."""

import pytest
import torch
from diffusers.models.transformers.transformer_ltx import LTXAttention
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor

from worldmodel.export.graphs.prompt import (
    BakedCrossAttention,
    ConstantCrossAttention,
    baked_cross_attention,
    masked_tokens,
    prompt_hash,
    zero_padded_tokens,
)
from worldmodel.flow.guidance import Prompt

WIDTH, HEADS, TEXT_LENGTH, CLIPS = 24, 3, 64, 2


def ltx_attention() -> LTXAttention:
    return LTXAttention(WIDTH, heads=HEADS, kv_heads=HEADS, dim_head=8, cross_attention_dim=WIDTH).eval()


def wan_attention() -> WanAttention:
    return WanAttention(WIDTH, heads=HEADS, dim_head=8, cross_attention_dim_head=8, processor=WanAttnProcessor()).eval()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def prompt(tokens: int, valid: int) -> Prompt:
    return Prompt(torch.randn(1, tokens, WIDTH), (torch.arange(tokens) < valid)[None].float())


def queries(prompts: int) -> Tensor:
    return torch.randn(prompts * CLIPS, 10, WIDTH)


def rows(tensor: Tensor, prompts: int) -> Tensor:
    """One prompt's tensor [1, ...] for its clips; several come stacked."""
    return tensor.repeat_interleave(CLIPS, dim=0) if len(tensor) == prompts else tensor.expand(CLIPS, -1, -1)


@torch.no_grad()
@pytest.mark.parametrize("valid", [(1,), (4,), (4, 4), (2, 6)], ids=str)
def test_ltx_masked_tokens_are_left_out(valid: tuple[int, ...]) -> None:
    attention, prompts = ltx_attention(), [prompt(6, one) for one in valid]
    embeds = torch.cat([one.embeds_BLD for one in prompts])
    bias = (1 - torch.cat([one.mask_BL for one in prompts])) * -10000.0
    x = queries(len(valid))
    expected = attention(x, rows(embeds, len(valid)), rows(bias[:, None], len(valid)))
    tokens = masked_tokens(prompts)
    found = baked_cross_attention(attention, tokens.embeds_PLD, tokens.bias_PL)(x)
    assert tokens.embeds_PLD.shape[1] == max(valid)
    assert (found - expected).abs().max() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("valid", [(0,), (1,), (7,), (7, 2), (TEXT_LENGTH, 3)], ids=str)
def test_wan_equal_padding_is_one_key(valid: tuple[int, ...]) -> None:
    attention, prompts = wan_attention(), [prompt(TEXT_LENGTH, one) for one in valid]
    embeds = torch.cat([one.embeds_BLD * one.mask_BL[..., None] for one in prompts])
    project = torch.nn.Linear(WIDTH, WIDTH)  # as the network's text embedder: zeros do not stay zeros
    x = queries(len(valid))
    expected = attention(x, rows(project(embeds), len(valid)))
    tokens = zero_padded_tokens(prompts, TEXT_LENGTH)
    found = baked_cross_attention(attention, project(tokens.embeds_PLD), tokens.bias_PL)(x)
    assert tokens.embeds_PLD.shape[1] == max(valid) + (max(valid) < TEXT_LENGTH)
    assert (found - expected).abs().max() <= 1e-6


@torch.no_grad()
def test_zeros_among_the_tokens_count_as_padding() -> None:
    embeds = torch.randn(1, 6, WIDTH)
    embeds[:, 2] = 0
    tokens = zero_padded_tokens([Prompt(embeds)], 10)
    assert tokens.embeds_PLD.shape == (1, 6, WIDTH)
    assert tokens.bias_PL[0, -1] == pytest.approx(torch.tensor(5.0).log().item())


@torch.no_grad()
def test_one_key_is_a_constant_and_more_are_not() -> None:
    attention = ltx_attention()
    one, more = (masked_tokens([prompt(4, valid)]) for valid in (1, 2))
    assert isinstance(baked_cross_attention(attention, one.embeds_PLD, one.bias_PL), ConstantCrossAttention)
    baked = baked_cross_attention(attention, more.embeds_PLD, more.bias_PL)
    assert isinstance(baked, BakedCrossAttention) and baked.bias is None
    names = {name.split(".")[0] for name, _ in baked.named_parameters()}
    assert names == {"key", "value", "to_q", "norm_q", "to_out"}, "keys and values have no weights left"


@torch.no_grad()
def test_a_mask_of_zeros_masks_nothing() -> None:
    assert masked_tokens([prompt(4, 0)]).embeds_PLD.shape[1] == 4


def test_hash_tells_prompts_apart() -> None:
    first, second = prompt(4, 4), prompt(4, 3)
    same = Prompt(first.embeds_BLD.expand(3, -1, -1), first.mask_BL.expand(3, -1))
    hashes = [prompt_hash(one) for one in ([first], [second], [first, second], [second, first])]
    assert len(set(hashes)) == 4
    assert prompt_hash([same]) == hashes[0], "how many clips it is for changes nothing"
    assert prompt_hash([Prompt(first.embeds_BLD)]) != hashes[0]
