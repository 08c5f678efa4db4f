"""Prompts baked into cross-attention: their keys and values are constants, or the whole attention is one.

* LTX masks prompt tokens: those tokens are left out, which is exact.
* Wan attends to all `text_length` tokens, zeros behind the prompt: k equal keys are one key whose score is raised by
  log(k), since softmax sums their exponentials.
* Attention to one key is the value of that key for every query: a constant.

Shape legend: P prompts (one, or negative and positive), B clips, R = P * B rows, prompt-major; N tokens of a clip,
L prompt tokens, D width, H heads, E width of a head.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from worldmodel.export.graphs.copies import wide_copy
from worldmodel.flow.guidance import Prompt

NEVER = -10000.0
"""Added to the score of a key that is not there; the value that LTX itself masks with."""


@dataclass(frozen=True)
class PromptTokens:
    """The distinct tokens that each prompt attends to, as the text encoder gave them, with what is added to a score."""

    embeds_PLD: Float[Tensor, "P L D"]
    bias_PL: Float[Tensor, "P L"]


def masked_tokens(prompts: Sequence[Prompt]) -> PromptTokens:
    """LTX: only the tokens that the mask names; a shorter prompt is padded with tokens that are never attended to.

    Each prompt has one row.
    """
    kept = []
    for prompt in prompts:
        valid_L = torch.ones(prompt.embeds_BLD.shape[1]) if prompt.mask_BL is None else prompt.mask_BL[0]
        chosen_L = valid_L > 0.5
        # A mask of zeros lowers all scores alike, which changes nothing.
        kept.append(prompt.embeds_BLD[0, chosen_L if chosen_L.any() else slice(None)].float())
    length = max(map(len, kept))
    bias = [[0.0] * len(tokens) + [NEVER] * (length - len(tokens)) for tokens in kept]
    rows = [pad(tokens, (0, 0, 0, length - len(tokens))) for tokens in kept]
    return PromptTokens(torch.stack(rows), torch.tensor(bias))


def zero_padded_tokens(prompts: Sequence[Prompt], text_length: int) -> PromptTokens:
    """Wan: the tokens that are not zero, then one zero token in place of all that fill up `text_length`.

    Each prompt has one row. The order of tokens does not matter: they carry no positions.
    """
    kept = []
    for prompt in prompts:
        embeds_LD = prompt.embeds_BLD[0].float()
        if prompt.mask_BL is not None:
            embeds_LD = embeds_LD * prompt.mask_BL[0, :, None].to(embeds_LD)
        kept.append(embeds_LD[embeds_LD.abs().amax(dim=1) > 0])
    length = max(map(len, kept))
    zeros = text_length - length
    rows = [pad(tokens, (0, 0, 0, length - len(tokens) + (zeros > 0))) for tokens in kept]
    bias_L = torch.tensor([0.0] * length + ([log(zeros)] if zeros else []))
    return PromptTokens(torch.stack(rows), bias_L.expand(len(rows), -1).clone())


def prompt_hash(prompts: Sequence[Prompt]) -> str:
    """sha256 over embeddings (float32) and masks of the prompts in their order."""
    digest = hashlib.sha256()
    for prompt in prompts:
        for name, tensor in (("embeds", prompt.embeds_BLD[:1]), ("mask", prompt.mask_BL)):
            digest.update(name.encode())
            if tensor is not None:
                digest.update(str(list(tensor[:1].shape)).encode() + tensor[:1].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def baked_cross_attention(attention: Any, context_PLD: Float[Tensor, "P L D"], bias_PL: Float[Tensor, "P L"]) -> Any:
    """Stands in for a diffusers cross-attention (LTX or Wan) of one block, called with the same arguments.

    Args:
        attention: a module with to_q, to_k, to_v, norm_q, norm_k, to_out and heads; it stays as it is.
        context_PLD: the prompt tokens as the block gets them, after the network's own projection.
    """
    value_PLD = wide_copy(attention.to_v)(context_PLD)
    if context_PLD.shape[1] == 1:
        return ConstantCrossAttention(wide_copy(attention.to_out[0])(value_PLD))
    key_PLD = wide_copy(attention.norm_k)(wide_copy(attention.to_k)(context_PLD))
    heads = [tensor.unflatten(2, (attention.heads, -1)).transpose(1, 2) for tensor in (key_PLD, value_PLD)]
    return BakedCrossAttention(attention, heads[0], heads[1], bias_PL)


class ConstantCrossAttention(nn.Module):
    """Cross-attention to one prompt token: the same vector for every query."""

    def __init__(self, answer_P1D: Float[Tensor, "P 1 D"]) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer_P1D.contiguous(), requires_grad=False)

    def forward(self, hidden_states: Tensor, *unused: Any, **ignored: Any) -> Tensor:
        """hidden_states [R, N, D] to [1 or R, 1, D]."""
        prompts = len(self.answer)
        if prompts == 1:
            return self.answer
        clips = hidden_states.shape[0] // prompts
        return self.answer[:, None].expand(-1, clips, -1, -1).flatten(0, 1)


class BakedCrossAttention(nn.Module):
    """Cross-attention to constant keys and values; only the queries are computed."""

    bias: Tensor | None

    def __init__(
        self,
        attention: Any,
        key_PHLE: Float[Tensor, "P H L E"],
        value_PHLE: Float[Tensor, "P H L E"],
        bias_PL: Float[Tensor, "P L"],
    ) -> None:
        super().__init__()
        self.heads, self.to_q, self.norm_q, self.to_out = (
            attention.heads,
            attention.to_q,
            attention.norm_q,
            attention.to_out,
        )
        self.key = nn.Parameter(key_PHLE.contiguous(), requires_grad=False)
        self.value = nn.Parameter(value_PHLE.contiguous(), requires_grad=False)
        self.register_buffer("bias", bias_PL[:, None, None] if bias_PL.any() else None)

    def forward(self, hidden_states: Tensor, *unused: Any, **ignored: Any) -> Tensor:
        """hidden_states [R, N, D] to [R, N, D]; the clips of a prompt are one long sequence of queries."""
        rows, tokens = hidden_states.shape[:2]
        query_RND = self.norm_q(self.to_q(hidden_states))
        query_PHQE = query_RND.reshape(len(self.key), -1, self.heads, self.key.shape[-1]).transpose(1, 2)
        query_PHQE = query_PHQE.to(self.value.dtype)
        bias = None if self.bias is None else self.bias.to(self.value.dtype)
        answer_PHQE = scaled_dot_product_attention(query_PHQE, self.key, self.value, attn_mask=bias)
        return self.to_out[0](answer_PHQE.transpose(1, 2).reshape(rows, tokens, -1))
