"""Target inversion: carry a future chunk back to noise with the frozen pretrained network (RF-Solver).

Time and sign as in `path`; a pretrained text-to-video network has noise at sigma 1 and video at sigma 0.
RF-Solver (Wang et al. 2025) adds the second term of the Taylor series to each Euler step, with the derivative taken
from an evaluation in the middle of the step; the two together are the explicit midpoint rule, of second order. The same
solver back is close to the inverse, not equal to it: benchmarks/studies/inversion_round_trip.py measures how close.

Shape legend: B batch; a trailing ... is whatever the latents are, usually C f h w.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.flow.solvers import CountedVelocity, Integration, Velocity


def invert(velocity: Velocity, x_target: Float[Tensor, "B ..."], num_steps: int = 25) -> Integration:
    """The noise that `velocity` would turn into `x_target`: the paper's xhat1 (Algorithm 1, line 6).

    Two evaluations a step. It depends on the chunk and the frozen weights only, so it is computed once and cached.
    """
    return midpoint(velocity, x_target, 0.0, 1.0, num_steps)


@torch.no_grad()
def midpoint(
    velocity: Velocity, x: Float[Tensor, "B ..."], sigma_from: float, sigma_to: float, num_steps: int
) -> Integration:
    """Follow dx/dsigma = velocity from `sigma_from` to `sigma_to` in equal steps of the explicit midpoint rule.

    The state keeps the dtype of `x`; give float32 where the network runs in bfloat16. No gradients.

    Raises:
        InputError: fewer than 1 step.
    """
    if num_steps < 1:
        raise InputError(f"num_steps={num_steps}: use at least 1")
    counted = velocity if isinstance(velocity, CountedVelocity) else CountedVelocity(velocity)
    counted.restart()
    sigmas = np.linspace(sigma_from, sigma_to, num_steps + 1).tolist()
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:], strict=True):
        step = sigma_next - sigma
        middle = x + step / 2 * counted(x, _rows(sigma, x)).to(x.dtype)
        x = x + step * counted(middle, _rows(sigma + step / 2, x)).to(x.dtype)
    return Integration(x, counted.evaluations)


def _rows(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=torch.float32, device=x.device)
