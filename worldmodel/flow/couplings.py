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


def cyclic_permutation(size: int, generator: torch.Generator | None = None) -> Int[Tensor, " B"]:
    """A random permutation without a fixed point, uniform over those of a single cycle.

    Row i gets each other row with equal probability. The indices lie on the generator's device.
    """
    order = torch.randperm(size, generator=generator, device="cpu" if generator is None else generator.device)
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return source
