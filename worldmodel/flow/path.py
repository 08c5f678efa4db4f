"""The straight path between an observed and a future chunk, and where on it the network is trained.

Time, said once for the whole project. The paper has t = 0 at the source and t = 1 at the target; diffusers has
sigma = 1 at the source and sigma = 0 at the target; sigma = 1 - t. Code here speaks sigma only, with `x_source` =
latents of the observed chunk (the paper's x0) and `x_target` = latents of the future chunk (x1)::

    x_sigma  = sigma * x_source + (1 - sigma) * x_target
    velocity = x_source - x_target        what the network predicts; LTX and Wan were pretrained with noise - data
    dx/dsigma = velocity                  one Euler step: x += (sigma_next - sigma) * velocity
    timestep fed to the network = 1000 * sigma

Shape legend: B batch; a trailing ... is whatever the latents are, usually C f h w.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PathSample:
    """A point of the path with what the network should say there.

    Attributes:
        x_sigma: the network's input, between target (sigma 0) and source (sigma 1).
        sigma: where on the path, one number per sample; the network is fed 1000 * sigma.
        velocity: x_source - x_target, the regression target.
    """

    x_sigma: Float[Tensor, "B ..."]
    sigma: Float[Tensor, " B"]
    velocity: Float[Tensor, "B ..."]


def sample(
    x_source: Float[Tensor, "B ..."], x_target: Float[Tensor, "B ..."], sigma_B: Float[Tensor, " B"]
) -> PathSample:
    """The path at `sigma_B` (paper eq. 1 and 2 in sigma form; both ends are exact)."""
    sigma = sigma_B.to(x_source).reshape(-1, *[1] * (x_source.ndim - 1))
    return PathSample(sigma * x_source + (1 - sigma) * x_target, sigma_B, x_source - x_target)


def uniform_sigmas(
    batch: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Float[Tensor, " B"]:
    """Sigmas uniform on [0, 1) (paper Algorithm 1; Table 3 for Wan)."""
    drawn_on = device if generator is None else generator.device
    return torch.rand(batch, generator=generator, device=drawn_on).to(device)


def logit_normal_sigmas(
    batch: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    *,
    shift: float,
    std: float = 1.0,
) -> Float[Tensor, " B"]:
    """Sigmas sigmoid(n), n ~ N(shift, std): the shifted logit-normal of the LTX trainer (paper Table 3 for LTX).

    `shift` is the mean before the sigmoid, usually `ltx_shift(tokens)`; above 0 it trains nearer to the source.
    """
    drawn_on = device if generator is None else generator.device
    normal_B = torch.randn(batch, generator=generator, device=drawn_on)
    return logit_normal(normal_B, shift, std).to(device)


def logit_normal(normal_B: Float[Tensor, " B"], shift: float, std: float = 1.0) -> Float[Tensor, " B"]:
    """The sigmas of `logit_normal_sigmas` that these standard normal numbers give."""
    return torch.sigmoid(normal_B * std + shift)


def ltx_shift(tokens: int) -> float:
    """Mean of the LTX logit-normal for a clip of `tokens` tokens: linear through 0.95 at 1024 and 2.05 at 4096.

    17 frames of 256x384 have 288 tokens, hence 0.686; 41 frames have 576, hence 0.790.
    """
    return 0.95 + (tokens - 1024) * (2.05 - 0.95) / (4096 - 1024)
