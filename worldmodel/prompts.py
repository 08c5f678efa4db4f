"""Text conditions: from strings where a text encoder is loaded, from a cached empty prompt where none is.

Shape legend: B batch, L prompt tokens, D prompt width.
"""

import torch
from diffusers import LTXPipeline, ModelMixin, WanPipeline
from diffusers.configuration_utils import ConfigMixin, register_to_config
from jaxtyping import Float
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt


class PromptCache(ModelMixin, ConfigMixin):
    """One embedded prompt as a pipeline component, so that diffusers saves, loads, moves and casts it.

    The mask is kept as numbers 0 and 1, which every dtype holds exactly.
    """

    @register_to_config
    def __init__(self, tokens: int, width: int, masked: bool) -> None:
        super().__init__()
        self.embeds = torch.nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)
        self.mask = torch.nn.Parameter(torch.ones(1, tokens), requires_grad=False) if masked else None

    @classmethod
    def of(cls, embeds_1LD: Float[Tensor, "1 L D"], mask_1L: Tensor | None) -> "PromptCache":
        """Keep this prompt, in the dtype and on the device of its embedding."""
        cache = cls(embeds_1LD.shape[1], embeds_1LD.shape[2], mask_1L is not None).to(embeds_1LD)
        cache.embeds.data.copy_(embeds_1LD)
        if mask_1L is not None:
            cache.mask.data.copy_(mask_1L)
        return cache


@torch.no_grad()
def encode_text(
    texts: list[str],
    text_encoder: torch.nn.Module,
    tokenizer: object,
    device: torch.device,
    wan_tokens: int | None = None,
) -> Prompt:
    """Embed `texts` as the pretrained pipeline does: diffusers' `WanPipeline` at `wan_tokens`, else `LTXPipeline`."""
    if wan_tokens is not None:
        encoder = WanPipeline(tokenizer, text_encoder, vae=None, scheduler=None)
        embeds, _ = encoder.encode_prompt(
            texts, do_classifier_free_guidance=False, max_sequence_length=wan_tokens, device=device
        )
        return Prompt(embeds)
    encoder = LTXPipeline(scheduler=None, vae=None, text_encoder=text_encoder, tokenizer=tokenizer, transformer=None)
    embeds, mask, _, _ = encoder.encode_prompt(texts, do_classifier_free_guidance=False, device=device)
    return Prompt(embeds, mask.to(embeds.dtype))


def rows(prompt: Prompt, batch: int, width: int, key: str) -> Prompt:
    """`prompt` with `batch` rows; one row serves all. Raises `InputError`, naming `key`, where it does not fit."""
    shape = prompt.embeds_BLD.shape
    if len(shape) != 3:
        raise InputError(f"{key} of shape {list(shape)}: give [1 or {batch}, tokens, {width}]")
    count, _, given_width = shape
    if prompt.mask_BL is not None and prompt.mask_BL.shape != shape[:2]:
        raise InputError(f"mask of {key} has shape {list(prompt.mask_BL.shape)}: give {list(shape[:2])}")
    if given_width != width:
        raise InputError(f"{key} of width {given_width}: this transformer takes {width}; embed with its text encoder")
    if count not in (1, batch):
        raise InputError(f"{key} has {count} rows for {batch} videos: give 1 or {batch}")
    mask = prompt.mask_BL
    return Prompt(
        prompt.embeds_BLD.expand(batch, -1, -1),
        None if mask is None else mask.to(prompt.embeds_BLD).expand(batch, -1),
    )
