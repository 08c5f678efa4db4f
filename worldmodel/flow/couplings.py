"""Which observed chunk is the source of which future chunk. See `path` for source, target and sigma.

Every coupling takes the normalised latent means of a batch's observed and future chunks and gives a `Coupling`.

Shape legend: B batch; a trailing ... is whatever the latents are, usually C f h w.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldmodel.errors import InputError


class Coupling(NamedTuple):
    """Row i of `x_source` flows to row i of `x_target`."""

    x_source: Float[Tensor, "B ..."]
    x_target: Float[Tensor, "B ..."]


def inherent(observed: Float[Tensor, "B ..."], future: Float[Tensor, "B ..."]) -> Coupling:
    """Each future chunk from the chunk right before it in the same video (paper Algorithm 3)."""
    return Coupling(observed, future)


def independent(
    observed: Float[Tensor, "B ..."], future: Float[Tensor, "B ..."], generator: torch.Generator | None = None
) -> Coupling:
    """Each future chunk from the observed chunk of *another* row of the batch (paper Algorithm 2).

    Raises:
        InputError: the batch has one row, so there is no other video to take a source from.
    """
    if len(observed) < 2:
        raise InputError("independent couplings need another video in the batch: use a batch size of at least 2")
    return Coupling(observed[cyclic_permutation(len(observed), generator).to(observed.device)], future)


def target_inverted(
    observed: Float[Tensor, "B ..."],
    observed_std: Float[Tensor, "B ..."],
    future: Float[Tensor, "B ..."],
    future_noise: Float[Tensor, "B ..."],
    rho: float = 0.7,
    generator: torch.Generator | None = None,
) -> Coupling:
    """Inherent couplings; with probability `rho` a row's source is observed + std * noise (paper Algorithm 1, line 7).

    Args:
        observed_std: standard deviation of the observed chunk's posterior, in normalised latents (std0 / std).
        future_noise: the future chunk inverted to noise, see `inversion.invert`.
        rho: 0 is Algorithm 3; the paper trains with 0.7.

    Raises:
        InputError: `rho` outside 0 to 1.
    """
    if not 0 <= rho <= 1:
        raise InputError(f"rho={rho}: use a probability from 0 to 1, the paper's is 0.7")
    drawn_on = observed.device if generator is None else generator.device
    mixed_B = (torch.rand(len(observed), generator=generator, device=drawn_on) < rho).to(observed.device)
    mixed = mixed_B.reshape(-1, *[1] * (observed.ndim - 1))
    return Coupling(torch.where(mixed, observed + observed_std * future_noise, observed), future)


def cyclic_permutation(size: int, generator: torch.Generator | None = None) -> Int[Tensor, " B"]:
    """A random permutation without a fixed point, uniform over those of a single cycle.

    Row i gets each other row with equal probability. The indices lie on the generator's device.
    """
    order = torch.randperm(size, generator=generator, device="cpu" if generator is None else generator.device)
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return source
