"""The diffusion of Stable Video Diffusion, Vista and GEM: noise levels, preconditioning, guidance, Euler's method.

Sources: Karras et al. 2022 (arXiv 2206.00364, sec. 5 and Algorithm 2 without churn); Vista
`vwm/modules/diffusionmodules/{discretizer,denoiser_scaling,guiders,sampling}.py`.
Shape legend: B clips, F frames, C channels, h w latent height and width; sigma is the noise's standard deviation.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.flow.solvers import Evaluations

Denoise = Callable[[Tensor, Tensor], Tensor]
"""denoise(x [B, F, C, h, w], sigma [B, F]) -> the clean latents that the network sees in x"""


@runtime_checkable
class Condition(Protocol):
    """What the network is told beside the noisy latents."""

    def after(self, other: Any) -> Any:
        """Both in one batch, `other` first."""


def edm_sigmas(steps: int, lowest: float, highest: float, rho: float = 7.0) -> Float[Tensor, " S"]:
    """`steps` noise levels from `highest` down to `lowest`, and 0 behind them; `InputError` for fewer than 2 steps."""
    if steps < 2:
        raise InputError(f"steps={steps}: use at least 2")
    along = torch.linspace(0, 1, steps)
    low, high = lowest ** (1 / rho), highest ** (1 / rho)
    return torch.cat([(high + along * (low - high)) ** rho, torch.zeros(1)])


def denoised(
    network: Callable[[Tensor, Tensor], Tensor], x_BFChw: Float[Tensor, "B F C h w"], sigma_BF: Float[Tensor, "B F"]
) -> Float[Tensor, "B F C h w"]:
    """Clean latents from a network that predicts v: network(scaled x, 0.25 log sigma [B, F]) -> v."""
    sigma = sigma_BF[:, :, None, None, None]
    scale = (sigma**2 + 1).rsqrt()
    return x_BFChw * scale**2 - sigma * scale * network(x_BFChw * scale, 0.25 * sigma_BF.log())


class Guidance:
    """Classifier-free guidance in one batch of both branches, counted.

    Attributes:
        scale: of the difference between the branches; 1 leaves the unconditional one out. By frame, or one for all.
        evaluations: what was computed since construction.
    """

    def __init__(self, scale: float | Float[Tensor, " F"]) -> None:
        self.scale = scale
        none = "guidance is 1" if isinstance(scale, (int, float)) and scale == 1 else None
        self.evaluations = Evaluations(guidance_skipped=none)

    def __call__(
        self,
        denoise: Callable[[Tensor, Tensor, Any], Tensor],
        x_BFChw: Float[Tensor, "B F C h w"],
        sigma_BF: Float[Tensor, "B F"],
        condition: Condition,
        unconditional: Condition,
    ) -> Float[Tensor, "B F C h w"]:
        """Guided clean latents."""
        self.evaluations.guided_evals += 1
        if self.evaluations.guidance_skipped:
            self.evaluations.count_forward(len(x_BFChw))
            return denoise(x_BFChw, sigma_BF, condition)
        self.evaluations.count_forward(2 * len(x_BFChw))
        both = denoise(torch.cat([x_BFChw] * 2), torch.cat([sigma_BF] * 2), condition.after(unconditional))
        without, given = both.chunk(2)
        scale = self.scale
        if isinstance(scale, Tensor):
            scale = scale.to(without).view(1, -1, 1, 1, 1)
        return without + scale * (given - without)


def triangle(frames: int, lowest: float, highest: float) -> Float[Tensor, " F"]:
    """Guidance by frame: `lowest` at both ends of the canvas, `highest` in its middle."""
    along = torch.linspace(0, 1, frames)
    return lowest + (highest - lowest) * (1 - (2 * along - 1).abs())


def euler(
    denoise: Denoise,
    noise_BFChw: Float[Tensor, "B F C h w"],
    sigmas: Float[Tensor, " S"],
    given_BFChw: Float[Tensor, "B F C h w"],
    given_F: Float[Tensor, " F"],
) -> Float[Tensor, "B F C h w"]:
    """From standard normal noise to latents, the given frames put in place before every step and at the end.

    `given_BFChw` counts where `given_F` is 1. Noise levels are the same for all frames.
    """
    x_BFChw = noise_BFChw * (1 + sigmas[0] ** 2).sqrt()
    for sigma, following in pairwise(sigmas.tolist()):
        x_BFChw = replaced(x_BFChw, given_BFChw, given_F)
        sigma_BF = torch.full(x_BFChw.shape[:2], sigma, device=x_BFChw.device)
        slope_BFChw = (x_BFChw - denoise(x_BFChw, sigma_BF)) / sigma
        x_BFChw = x_BFChw + (following - sigma) * slope_BFChw
    return replaced(x_BFChw, given_BFChw, given_F)


def replaced(
    x_BFChw: Float[Tensor, "B F C h w"], given_BFChw: Float[Tensor, "B F C h w"], given_F: Float[Tensor, " F"]
) -> Float[Tensor, "B F C h w"]:
    """`given_BFChw` where `given_F` is 1, else `x_BFChw`."""
    return torch.where(given_F.bool().view(1, -1, 1, 1, 1), given_BFChw, x_BFChw)
