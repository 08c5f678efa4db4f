"""Classifier-free guidance as a velocity that counts both branches, and says when it would change nothing.

Shape legend: B batch, L prompt tokens, D prompt width; a trailing ... is whatever the latents are, usually C f h w.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.flow.solvers import CountedVelocity


@dataclass(frozen=True)
class Prompt:
    """A text condition: embeddings and, where the network wants one, the mask of real tokens."""

    embeds_BLD: Float[Tensor, "B L D"]
    mask_BL: Tensor | None = None

    def equals(self, other: "Prompt") -> bool:
        """True where both would give the same velocity."""
        if not torch.equal(self.embeds_BLD, other.embeds_BLD):
            return False
        if self.mask_BL is None or other.mask_BL is None:
            return self.mask_BL is other.mask_BL
        return torch.equal(self.mask_BL, other.mask_BL)

    def joins(self, other: "Prompt") -> bool:
        """True where both can be one batch."""
        same_length = self.embeds_BLD.shape == other.embeds_BLD.shape
        return same_length and (self.mask_BL is None) == (other.mask_BL is None)

    def join(self, other: "Prompt") -> "Prompt":
        """Both as one batch, `self` first; see `joins`."""
        embeds = torch.cat([self.embeds_BLD, other.embeds_BLD])
        if self.mask_BL is None or other.mask_BL is None:
            return Prompt(embeds)
        return Prompt(embeds, torch.cat([self.mask_BL, other.mask_BL]))


Network = Callable[[Tensor, Tensor, Prompt], Tensor]
"""network(x [B, ...], sigma [B], prompt of B rows) -> [B, ...]"""


class GuidedVelocity(CountedVelocity):
    """The velocity under classifier-free guidance: v(negative) + scale * (v(prompt) - v(negative)).

    Both branches are one forward call on 2 B rows where the prompts are equally long, else two calls. Where guidance
    would change nothing the negative branch is left out, and `guidance_skipped` says why.

    Args:
        prompt, negative: conditions of the same B rows as x; `negative` None stands for "no prompt given".
        guidance_scale: 1 is no guidance.
    """

    def __init__(
        self, network: Network, prompt: Prompt, negative: Prompt | None = None, guidance_scale: float = 1.0
    ) -> None:
        self._network, self._prompt, self._scale = network, prompt, guidance_scale
        self._negative = prompt if negative is None else negative
        self.guidance_skipped = skip_reason(prompt, negative, guidance_scale)
        self.restart()

    def __call__(self, x: Float[Tensor, "B ..."], sigma_B: Float[Tensor, " B"]) -> Float[Tensor, "B ..."]:
        self.evaluations.guided_evals += 1
        if self.guidance_skipped is not None:
            return self._forward(x, sigma_B, self._prompt)
        # One evaluation in the paper's count, whatever the branches cost: `forward_calls` tells that.
        negative, prompted = self._both_branches(x, sigma_B)
        return negative + self._scale * (prompted - negative)

    def _both_branches(self, x: Tensor, sigma_B: Tensor) -> tuple[Tensor, Tensor]:
        if not self._prompt.joins(self._negative):
            return self._forward(x, sigma_B, self._negative), self._forward(x, sigma_B, self._prompt)
        both = self._forward(torch.cat([x, x]), sigma_B.repeat(2), self._negative.join(self._prompt))
        return both[: len(x)], both[len(x) :]

    def _forward(self, x: Tensor, sigma_B: Tensor, prompt: Prompt) -> Tensor:
        self.evaluations.count_forward(len(x))
        return self._network(x, sigma_B, prompt)


def skip_reason(prompt: Prompt, negative: Prompt | None, scale: float) -> str | None:
    """Why guidance would change nothing, or None where it would."""
    if scale == 1:
        return "guidance scale is 1"
    if negative is None:
        return "no prompt"
    if prompt.equals(negative):
        return "prompt and negative prompt are equal"
    return None
