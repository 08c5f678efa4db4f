"""How far a figure would move with other clips: jackknife for Fréchet distances, bootstrap for means.

A bootstrap of a Fréchet distance is useless: drawing clips twice adds one more floor (152 became 188 ± 18 in
`metrics_and_data.md` 1d). Leaving out a tenth at a time gives a standard error and an estimate without the bias that
the number of clips brings.

Shape legend: S samples (a clip of one camera), K groups of samples that are drawn together (drives), G groups.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

GROUPS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Bootstrap:
    """Standard error and 95 % interval of a mean."""

    error: float
    interval: tuple[float, float]


def jackknife(value: float, without: Callable[[int], float], groups: int = GROUPS) -> tuple[float, float]:
    """The estimate without bias, and the standard error, from leaving out one group at a time.

    Args:
        value: with all samples. without: the value without group 0, 1, ...
    """
    left = np.array([without(group) for group in range(groups)])
    error = float(np.sqrt((groups - 1) / groups * np.square(left - left.mean()).sum()))
    return groups * value - (groups - 1) * float(left.mean()), error


def bootstrap_of_mean(
    values_S: Float64[Tensor, " S"], groups_S: Int64[Tensor, " S"], draws: int = DRAWS, seed: int = 0
) -> Bootstrap | None:
    """Of the mean over samples, drawing whole groups: clips of one drive are alike. None below two groups."""
    return bootstrap_of_ratio(values_S, torch.ones_like(values_S), groups_S, draws, seed)


def bootstrap_of_ratio(
    over_S: Float64[Tensor, " S"],
    under_S: Float64[Tensor, " S"],
    groups_S: Int64[Tensor, " S"],
    draws: int = DRAWS,
    seed: int = 0,
) -> Bootstrap | None:
    """Of sum(over) / sum(under), drawing whole groups with the same seed always. None below two groups."""
    numbers, inverse_S = torch.unique(groups_S, return_inverse=True)
    groups = len(numbers)
    if groups < 2:
        return None
    over_K, under_K = (torch.zeros(groups, dtype=torch.float64).index_add(0, inverse_S, x) for x in (over_S, under_S))
    drawn = torch.randint(groups, (draws, groups), generator=torch.Generator().manual_seed(seed))
    ratios = over_K[drawn].sum(1) / under_K[drawn].sum(1)
    low, high = torch.quantile(ratios, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Bootstrap(float(ratios.std()), (low, high))
