"""Wan 2.1 as a causal model: the unmodified diffusers transformer run block by block over a cache of keys and values.

CausVid and its successors have exactly Wan's weights; causal are only the order of evaluation and what attention sees.
A block of latents attends to itself and to all blocks before it. It is denoised in a few steps, each of which writes
the same slots of the cache, and is shown once more at timestep 0, so that the cache holds its clean keys and values.

Sources: Yin et al. 2025 (CausVid), Huang et al. 2025 (Self-Forcing); time and sign as in `worldmodel.flow.path`.

Shape legend: B clips, C channels, f latent frames, h w latent size; N tokens of a block, M of all blocks so far,
H heads, D width (of a head where H is there).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.benchmarks.methods.method import Noise
from worldmodel.flow.guidance import Prompt
from worldmodel.flow.solvers import Evaluations

TRAINING_STEPS = 1000


class OffsetRope(nn.Module):
    """Wan's rotary embedding for a block that starts at `first_frame` of the sequence."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope, self.first_frame = rope, 0

    def forward(self, block_BCfhw: Float[Tensor, "B C f h w"]) -> tuple[Tensor, Tensor]:
        """Cosines and sines [1, N, 1, D] of the block's tokens."""
        frames, height, width = block_BCfhw.shape[2:]
        # Wan's own module reads nothing but the shape of its argument.
        longer_11fhw = block_BCfhw[:1, :1, :1].expand(1, 1, self.first_frame + frames, height, width)
        cos, sin = self.rope(longer_11fhw)
        tokens = cos.shape[1] // (self.first_frame + frames) * frames
        return cos[:, -tokens:], sin[:, -tokens:]


class CachedAttention:
    """Self-attention of one layer (a diffusers attention processor): a block's queries over the cache up to its end.

    The cache is made for `capacity` tokens at the first block; `first_token` says where the block lies in it.
    """

    _attention_backend: Any = None  # set by `transformer.set_attention_backend`
    _parallel_config: Any = None

    def __init__(self) -> None:
        self.capacity = self.first_token = 0
        self.forget()

    def forget(self) -> None:
        """Free the cache."""
        self._keys_BMHD: Tensor | None = None
        self._values_BMHD: Tensor | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "B N D"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "B N D"]:
        """What the unmodified layer calls in place of its own attention."""
        query_BNHD = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        key_BNHD = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1))
        value_BNHD = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        if rotary_emb is not None:
            rotation = (rotary_emb[0][0, :, 0], rotary_emb[1][0, :, 0])
            query_BNHD = apply_rotary_emb(query_BNHD, rotation, sequence_dim=1)
            key_BNHD = apply_rotary_emb(key_BNHD, rotation, sequence_dim=1)
        keys_BMHD, values_BMHD = self._remember(key_BNHD, value_BNHD)
        seen_BNHD = dispatch_attention_fn(query_BNHD, keys_BMHD, values_BMHD, backend=self._attention_backend)
        project, dropout = attn.to_out
        return dropout(project(seen_BNHD.flatten(2).to(hidden_states)))

    def _remember(
        self, key_BNHD: Float[Tensor, "B N H D"], value_BNHD: Float[Tensor, "B N H D"]
    ) -> tuple[Float[Tensor, "B M H D"], Float[Tensor, "B M H D"]]:
        """All keys and values up to the end of this block, which is written over what stood in its place."""
        batch, tokens, heads, width = key_BNHD.shape
        if self._keys_BMHD is None or self._values_BMHD is None:
            self._keys_BMHD = key_BNHD.new_empty(batch, self.capacity, heads, width)
            self._values_BMHD = value_BNHD.new_empty(batch, self.capacity, heads, width)
        end = self.first_token + tokens
        self._keys_BMHD[:, self.first_token : end] = key_BNHD
        self._values_BMHD[:, self.first_token : end] = value_BNHD
        return self._keys_BMHD[:, :end], self._values_BMHD[:, :end]


class CausalWan:
    """A `WanBackbone` whose transformer is evaluated block by block, and counted.

    It puts its attention and its rotary embedding into the backbone's transformer; the weights stay as they are.
    """

    def __init__(self, backbone: WanBackbone) -> None:
        self.backbone = backbone
        self.evaluations = Evaluations()
        transformer = backbone.transformer
        self._rope = transformer.rope = OffsetRope(transformer.rope)
        self._attentions = [CachedAttention() for _ in transformer.blocks]
        for block, attention in zip(transformer.blocks, self._attentions, strict=True):
            block.attn1.set_processor(attention)

    @contextmanager
    def sequence(self, frames: int, height: int, width: int, prompt: Prompt) -> Iterator[None]:
        """A new sequence of that many latents; its cache lives as long as the context, evaluations count from 0."""
        patch = self.backbone.geometry.patch
        self._frame_tokens = (height // patch[1]) * (width // patch[2])
        self._prompt, self.evaluations = prompt, Evaluations()
        for attention in self._attentions:
            attention.capacity = frames * self._frame_tokens
        try:
            yield
        finally:
            for attention in self._attentions:
                attention.forget()

    def velocity(
        self, block_BCfhw: Float[Tensor, "B C f h w"], timestep: float, first_frame: int
    ) -> Float[Tensor, "B C f h w"]:
        """noise - data of the block that starts at latent `first_frame`; the cache then holds this block as shown."""
        self._rope.first_frame = first_frame
        for attention in self._attentions:
            attention.first_token = first_frame * self._frame_tokens
        batch = len(block_BCfhw)
        self.evaluations.guided_evals += 1
        self.evaluations.count_forward(batch)
        sigma_B = torch.full((batch,), timestep / TRAINING_STEPS, device=block_BCfhw.device)
        return self.backbone.velocity(block_BCfhw, sigma_B, self._prompt.embeds_BLD, self._prompt.mask_BL)


@dataclass(frozen=True)
class FewSteps:
    """The steps that a distilled model was made for, as its published configuration says.

    Attributes:
        listed: from 1000 down; `warp` reads them as positions in the shifted schedule, else they are timesteps.
        shift: of the schedule, sigma = shift u / (1 + (shift - 1) u) for u = 1, 0.999, ..., 0.001.
    """

    listed: tuple[int, ...]
    shift: float
    warp: bool

    def timesteps_and_sigmas(self) -> list[tuple[float, float]]:
        """What the network is told, and how noisy the latents are: the schedule's sigma nearest to that timestep."""
        u = torch.linspace(1, 0, TRAINING_STEPS + 1)[:-1]
        sigmas = self.shift * u / (1 + (self.shift - 1) * u)
        timesteps = [float(step) for step in self.listed]
        if self.warp:
            timesteps = [float(TRAINING_STEPS * sigmas[TRAINING_STEPS - step]) for step in self.listed]
        nearest = [int((TRAINING_STEPS * sigmas - timestep).abs().argmin()) for timestep in timesteps]
        return [(timestep, float(sigmas[i])) for timestep, i in zip(timesteps, nearest, strict=True)]


@torch.no_grad()
def continue_latents(
    causal: CausalWan,
    given_BCfhw: Float[Tensor, "B C f h w"],
    new_frames: int,
    block: int,
    steps: FewSteps,
    prompt: Prompt,
    noise: Noise,
) -> Float[Tensor, "B C g h w"]:
    """The `new_frames` latents after `given_BCfhw`, both whole numbers of blocks; noise for `latents` and `renoise`.

    Every given block costs one evaluation, every new one its steps and one more. The last of these fills a cache that
    nothing reads any more; the published code makes it and the paper counts it (5 = 1 + 3 + 1).
    """
    batch, channels, given, height, width = given_BCfhw.shape
    start_BCghw = noise.normal("latents", (batch, channels, new_frames, height, width)).to(given_BCfhw)
    new = []
    with causal.sequence(given + new_frames, height, width, prompt):
        for first in range(0, given, block):
            causal.velocity(given_BCfhw[:, :, first : first + block], 0.0, first)
        for first in range(0, new_frames, block):
            clean = _denoise(causal, start_BCghw[:, :, first : first + block], given + first, steps, noise)
            causal.velocity(clean, 0.0, given + first)
            new.append(clean)
    return torch.cat(new, dim=2)


def _denoise(
    causal: CausalWan, x_BCfhw: Float[Tensor, "B C f h w"], first_frame: int, steps: FewSteps, noise: Noise
) -> Float[Tensor, "B C f h w"]:
    """Jump to the clean block, and from there back to the next step's sigma with fresh noise."""
    schedule = steps.timesteps_and_sigmas()
    for index, (timestep, sigma) in enumerate(schedule):
        x_BCfhw = x_BCfhw - sigma * causal.velocity(x_BCfhw, timestep, first_frame)
        if index + 1 < len(schedule):
            sigma = schedule[index + 1][1]
            x_BCfhw = (1 - sigma) * x_BCfhw + sigma * noise.normal("renoise", x_BCfhw.shape).to(x_BCfhw)
    return x_BCfhw
