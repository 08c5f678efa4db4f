"""Text conditions: from strings where a text encoder is loaded, from a cached empty prompt where none is.

Shape legend: B batch, L prompt tokens, D prompt width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import LTXPipeline, ModelMixin, WanPipeline
from diffusers.configuration_utils import ConfigMixin, register_to_config
from jaxtyping import Float
from torch import Tensor

from worldmodel.conventions import Conventions
from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt

GivenPrompt = tuple[str | list[str] | None, Tensor | None, Tensor | None]
"""Text, or embeddings with their mask."""
NOT_GIVEN: GivenPrompt = (None, None, None)


class PromptCache(ModelMixin, ConfigMixin):
    """One embedded prompt as a pipeline component, so that diffusers saves, loads, moves and casts it.

    The mask is kept as numbers 0 and 1, which every dtype holds exactly.
    """

    # diffusers writes a component's module into model_index.json: this name is the file format's, so that pipelines of
    # before open here and those saved here open in the versions of before.
    __module__ = "worldmodel.prompts"

    @register_to_config  # type: ignore[untyped-decorator]  # diffusers' own
    def __init__(self, tokens: int, width: int, masked: bool) -> None:
        super().__init__()
        self.embeds = torch.nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)
        self.mask = torch.nn.Parameter(torch.ones(1, tokens), requires_grad=False) if masked else None

    @classmethod
    def of(cls, embeds_1LD: Float[Tensor, "1 L D"], mask_1L: Tensor | None) -> "PromptCache":
        """Keep this prompt, in the dtype and on the device of its embedding."""
        cache: PromptCache = cls(embeds_1LD.shape[1], embeds_1LD.shape[2], mask_1L is not None).to(embeds_1LD)
        cache.embeds.data.copy_(embeds_1LD)
        if mask_1L is not None and cache.mask is not None:
            cache.mask.data.copy_(mask_1L)
        return cache

    def prompt(self, device: torch.device) -> Prompt:
        """What is kept, on `device`."""
        mask = None if self.mask is None else self.mask.data.to(device)
        return Prompt(self.embeds.data.to(device), mask)


EmbedTexts = Callable[[list[str], Any, Any, torch.device, int], Prompt]
"""embed(texts, text_encoder, tokenizer, device, text_length) -> one row a text"""


@torch.no_grad()
def embed_as_ltx(
    texts: list[str], text_encoder: Any, tokenizer: Any, device: torch.device, text_length: int = 0
) -> Prompt:
    """Embed `texts` as diffusers' `LTXPipeline` does, whose length of 128 tokens is its own, with the mask of them."""
    encoder: Any = LTXPipeline(
        scheduler=None, vae=None, text_encoder=text_encoder, tokenizer=tokenizer, transformer=None
    )
    embeds, mask, _, _ = encoder.encode_prompt(texts, do_classifier_free_guidance=False, device=device)
    return Prompt(embeds, mask.to(embeds.dtype))


@torch.no_grad()
def embed_as_wan(
    texts: list[str], text_encoder: Any, tokenizer: Any, device: torch.device, text_length: int = 512
) -> Prompt:
    """Embed `texts` as diffusers' `WanPipeline` does, zeros behind the last token of `text_length`."""
    encoder: Any = WanPipeline(tokenizer, text_encoder, vae=None, scheduler=None)
    embeds, _ = encoder.encode_prompt(
        texts, do_classifier_free_guidance=False, max_sequence_length=text_length, device=device
    )
    return Prompt(embeds)


def rows(prompt: Prompt, batch: int, key: str) -> Prompt:
    """`prompt` for `batch` videos; one row serves all. Raises `InputError`, naming `key`, for another count."""
    count = len(prompt.embeds_BLD)
    if count not in (1, batch):
        raise InputError(f"{key} has {count} rows for {batch} videos: give 1 or {batch}")
    mask = prompt.mask_BL
    return Prompt(
        prompt.embeds_BLD.expand(batch, -1, -1),
        None if mask is None else mask.to(prompt.embeds_BLD).expand(batch, -1),
    )


@dataclass(frozen=True)
class PromptReader:
    """Turns what a caller gave for a prompt into a `Prompt`; texts need `encode`, None where no encoder is loaded."""

    empty: Prompt
    encode: Callable[[list[str]], Prompt] | None

    def read(
        self, key: str, texts: str | list[str] | None, embeds: Tensor | None, mask: Tensor | None, batch: int
    ) -> Prompt:
        """The prompt of `batch` rows that `texts` or `embeds` say, the empty one where neither says anything.

        Raises:
            InputError: both given, texts without an encoder, or shapes that do not fit; the message names `key`.
        """
        if texts is not None and embeds is not None:
            raise InputError(f"{key} and {key}_embeds: give at most one of them")
        if embeds is not None:
            return rows(self._embedded(f"{key}_embeds", embeds, mask), batch, f"{key}_embeds")
        texts = [texts or ""] if isinstance(texts, str) or texts is None else list(texts)
        if not any(texts):
            return rows(self.empty, batch, key)
        if self.encode is None:
            raise InputError(
                f"{key}: no text encoder is loaded; give {key}_embeds, load text_encoder and tokenizer, or leave it out"
            )
        return rows(self.encode(texts), batch, key)

    def both(self, positive: GivenPrompt, negative: GivenPrompt, batch: int) -> tuple[Prompt, Prompt | None]:
        """Prompt and negative prompt; the latter None where nothing at all is given."""
        read = self.read("prompt", *positive, batch), self.read("negative_prompt", *negative, batch)
        return read if (*positive[:2], *negative[:2]) != 4 * (None,) else (read[0], None)

    def negative_of(self, conventions: Conventions, cached: Prompt | None, batch: int) -> Prompt:
        """What the conventions guide away from, `cached` or encoded; raises `InputError` where neither can be."""
        if cached is not None:
            return rows(cached, batch, "negative_prompt_cache")
        if self.encode is None:
            raise InputError(
                f"conventions={conventions.name} guides away from a negative prompt, and no text encoder is loaded: "
                "load text_encoder and tokenizer, give negative_prompt_embeds, or use guidance 1"
            )
        return self.read("negative_prompt", conventions.sampling.negative_prompt, None, None, batch)

    def _embedded(self, key: str, embeds: Tensor, mask: Tensor | None) -> Prompt:
        width = self.empty.embeds_BLD.shape[-1]
        if embeds.ndim != 3:
            raise InputError(f"{key} of shape {list(embeds.shape)}: give [rows, tokens, {width}]")
        if embeds.shape[-1] != width:
            raise InputError(f"{key} of width {embeds.shape[-1]}: this transformer takes {width}; use its text encoder")
        if mask is not None and mask.shape != embeds.shape[:2]:
            raise InputError(f"mask of {key} has shape {list(mask.shape)}: give {list(embeds.shape[:2])}")
        dtype_and_device = self.empty.embeds_BLD
        return Prompt(embeds.to(dtype_and_device), None if mask is None else mask.to(dtype_and_device))
