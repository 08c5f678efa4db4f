"""Which observed chunk is the source of which future chunk. See `path` for source, target and sigma.

Every coupling takes the normalised latent means of a batch's observed and future chunks and gives a `Coupling`.

Shape legend: B, K batch; D everything else, flattened; a trailing ... is whatever the latents are, usually C f h w.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from worldmodel.errors import InputError, MissingDependency


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
    uniform_B: Float[Tensor, " B"] | None = None,
) -> Coupling:
    """Inherent couplings; with probability `rho` a row's source is observed + std * noise (paper Algorithm 1, line 7).

    Args:
        observed_std: standard deviation of the observed chunk's posterior, in normalised latents (std0 / std).
        future_noise: the future chunk inverted to noise, see `inversion.invert`.
        rho: 0 is Algorithm 3; the paper trains with 0.7.
        uniform_B: numbers from [0, 1): a row is mixed where its number is below `rho`. Drawn here where not given.

    Raises:
        InputError: `rho` outside 0 to 1.
    """
    if not 0 <= rho <= 1:
        raise InputError(f"rho={rho}: use a probability from 0 to 1, the paper's is 0.7")
    uniform_B = torch.rand(len(observed)) if uniform_B is None else uniform_B
    mixed = (uniform_B < rho).to(observed.device).reshape(-1, *[1] * (observed.ndim - 1))
    return Coupling(torch.where(mixed, observed + observed_std * future_noise, observed), future)


def minibatch_optimal_transport(observed: Float[Tensor, "B ..."], future: Float[Tensor, "B ..."]) -> Coupling:
    """Each future chunk from the observed chunk that the batch's optimal transport plan gives it.

    Squared Euclidean cost, uniform weights, solved exactly (Pooladian et al. 2023, Tong et al. 2024): of all ways to
    pair the batch, the one with the least sum of |observed - future|^2. For comparison; the paper trains without it.

    Raises:
        MissingDependency: POT is not installed.
        InputError: a latent is not finite.
    """
    plan_BB = transport_plan(squared_distances(observed, future))
    return Coupling(observed[plan_BB.argmax(dim=0).to(observed.device)], future)


def squared_distances(source: Float[Tensor, "B ..."], target: Float[Tensor, "K ..."]) -> Float64[Tensor, "B K"]:
    """|source_i - target_j|^2 over everything but the first axis, in float64."""
    # In float64 neither autocast nor TF32 touches the product, and the difference of large sums keeps its digits.
    source_BD, target_KD = (each.detach().double().flatten(1) for each in (source, target))
    norms_BK = source_BD.square().sum(1)[:, None] + target_KD.square().sum(1)
    return (norms_BK - 2 * source_BD @ target_KD.T).clamp(min=0)


def transport_plan(cost_BB: Float64[Tensor, "B B"]) -> Float64[Tensor, "B B"]:
    """The plan of least cost whose rows and columns each sum to 1 / B (paper Eq. 4); on the CPU.

    The solver ends at a corner of the set of plans, which is a permutation matrix over B.

    Raises:
        MissingDependency: POT is not installed.
        InputError: a cost is not finite.
    """
    try:
        import ot
    except ImportError:
        raise MissingDependency("optimal transport needs POT, which is not installed: pip install pot") from None
    if not cost_BB.isfinite().all():
        raise InputError("optimal transport of latents that are not finite: leave out the chunk or encode it again")
    ones_B = np.ones(len(cost_BB))  # not 1 / B: sums of ones are exact, so every entry is exactly 0 or 1
    plan_BB = ot.emd(ones_B, ones_B, cost_BB.cpu().numpy(), numItermax=100_000_000)
    return torch.from_numpy(plan_BB) / len(cost_BB)


def cyclic_permutation(size: int, generator: torch.Generator | None = None) -> Int[Tensor, " B"]:
    """A random permutation without a fixed point, uniform over those of a single cycle.

    Row i gets each other row with equal probability. The indices lie on the generator's device.
    """
    order = torch.randperm(size, generator=generator, device="cpu" if generator is None else generator.device)
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return source
