"""Captions as the network sees them: embedded with the pretrained text encoder, which training leaves as it is.

Shape legend: K texts, L prompt tokens, D prompt width.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt
from worldmodel.measure.hashes import weights_hash
from worldmodel.models.pipeline import FlowFramesPipeline

AT_ONCE = 8  # texts in the encoder


class CaptionEncoder:
    """Embeds captions with the pipeline's text encoder; without one, the empty caption alone, by the cached prompt.

    The encoder is on the device where it is used: it may be larger than the network that is trained.
    """

    def __init__(self, pipeline: FlowFramesPipeline, device: torch.device) -> None:
        self.device = device
        self.text_encoder, self.tokenizer = pipeline.text_encoder, pipeline.tokenizer
        self.family, self.text_length = pipeline.family, pipeline.config["text_length"]
        self._empty = Prompt(*pipeline.backbone.empty_prompt())

    @property
    def reads(self) -> bool:
        """Whether there is a text encoder."""
        return self.text_encoder is not None and self.tokenizer is not None

    @cached_property
    def sha256(self) -> str:
        """Of the text encoder's weights and its vocabulary, or of the cached empty prompt."""
        digest = hashlib.sha256()
        if self.reads:
            digest.update(weights_hash(self.text_encoder).encode())
            digest.update(json.dumps(sorted(self.tokenizer.get_vocab().items())).encode())
        else:
            digest.update(self._empty.embeds_BLD.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def hash_once(self) -> None:
        """Let the first process of a launch alone reckon `sha256`, and tell the others. All processes call it."""
        (self.sha256,) = broadcast_object_list([self.sha256 if PartialState().is_main_process else ""])

    @torch.no_grad()
    def __call__(self, texts_K: Sequence[str]) -> Prompt:
        """One row a text.

        Raises:
            InputError: a caption, and no text encoder.
        """
        if not self.reads:
            if any(texts_K):
                raise InputError(
                    "conventions=published trains on captions and pretrained has no text encoder: give a folder with "
                    "text_encoder and tokenizer, or a list without captions"
                )
            mask = self._empty.mask_BL
            return Prompt(
                self._empty.embeds_BLD.expand(len(texts_K), -1, -1),
                None if mask is None else mask.expand(len(texts_K), -1),
            )
        self.text_encoder.to(self.device)
        groups = (list(texts_K[at : at + AT_ONCE]) for at in range(0, len(texts_K), AT_ONCE))
        parts = [
            self.family.embed(group, self.text_encoder, self.tokenizer, self.device, self.text_length)
            for group in groups
        ]
        return functools.reduce(Prompt.join, parts)

    def rest(self) -> None:
        """Give the device's memory back until it is used again."""
        if self.reads:
            self.text_encoder.to("cpu")
