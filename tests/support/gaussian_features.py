"""Gaussian features, and a Fréchet distance of them that never forms a covariance.

Shape legend: N, M samples, D dimensions.
"""

import torch
from jaxtyping import Float64
from torch import Tensor


def features(dimensions: int, samples: int, seed: int) -> Float64[Tensor, "N D"]:
    """Samples of a Gaussian; the axes are those of every seed, the spread is a little larger for larger seeds."""
    axes = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    falling = torch.linspace(0, -3, dimensions, dtype=torch.float64).exp()
    drawn = torch.randn(samples, dimensions, generator=torch.Generator().manual_seed(1 + seed), dtype=torch.float64)
    return (1 + 0.1 * seed) * drawn @ (axes * falling / dimensions**0.5) + 0.05 * seed


def reference(one_ND: Float64[Tensor, "N D"], other_ND: Float64[Tensor, "M D"]) -> float:
    """From the features, without covariances."""
    roots = [torch.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r").R for x in (one_ND, other_ND)]
    overlap = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    apart = (one_ND.mean(0) - other_ND.mean(0)).square().sum()
    return float(apart + sum(root.square().sum() for root in roots) - 2 * overlap)
