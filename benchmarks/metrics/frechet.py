"""The Fréchet distance between two Gaussians, in float64 and without the root of a matrix product.

    FD = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

With roots S = L L^T the last trace is the sum of the singular values of L1^T L2 (its nuclear norm), which are the roots
of the eigenvalues of L1^T S2 L1: real, never negative, and exact where a covariance has no full rank, because its root
then simply has fewer columns. The eigenvalues of S1 S2, and `scipy.linalg.sqrtm` of it, lose eight digits there
(benchmarks/results, `frechet_distance`).

Roots: Cholesky; where it fails (dimensions without variance, fewer samples than dimensions) eigenvectors up to the
numerical rank; of features that are fewer than the dimensions, the centred features themselves.
All on the CPU: a value then does not depend on the device that made the features.

Shape legend: D feature dimensions, N and M samples, R columns of a root.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from worldmodel.errors import InputError

# Above this width singular values are had as roots of eigenvalues, in half the time and an eighth on two threads. They
# agreed to 1e-12 on all but a made-up spectrum (two very unlike axes of every pair mixed: 4e-8).
_WIDE = 1024


def frechet_distance(
    mean_1_D: Float[Tensor, " D"],
    covariance_1_DD: Float[Tensor, "D D"],
    mean_2_D: Float[Tensor, " D"],
    covariance_2_DD: Float[Tensor, "D D"],
) -> float:
    """Of two Gaussians given by mean and covariance; rounding may leave a distance of zero a hair below zero.

    Raises:
        InputError: a value is not finite, or a covariance is not symmetric and positive semi-definite.
    """
    one_DD, other_DD = _checked(covariance_1_DD), _checked(covariance_2_DD)
    # Large variances first: eigenvalues of a matrix graded so keep their digits down to the smallest one.
    order = (one_DD.diagonal() * other_DD.diagonal()).argsort(descending=True)
    overlap = _overlap(*(covariance_DD[order][:, order] for covariance_DD in (one_DD, other_DD)))
    apart_D = _finite(mean_1_D) - _finite(mean_2_D)
    return float(apart_D.square().sum() + one_DD.trace() + other_DD.trace() - 2 * overlap)


def frechet_distance_of_features(features_1_ND: Float[Tensor, "N D"], features_2_MD: Float[Tensor, "M D"]) -> float:
    """Of the Gaussians of two sets of features, with covariances over N - 1; exact where N or M is below D.

    Raises:
        InputError: fewer than two samples, or a value that is not finite.
    """
    one_ND, other_MD = _finite(features_1_ND), _finite(features_2_MD)
    if min(len(one_ND), len(other_MD)) > one_ND.shape[1]:
        return frechet_distance(one_ND.mean(0), one_ND.T.cov(), other_MD.mean(0), other_MD.T.cov())
    apart_D = one_ND.mean(0) - other_MD.mean(0)
    one_DR, other_DR = root_of_features(one_ND), root_of_features(other_MD)
    spread = one_DR.square().sum() + other_DR.square().sum()
    return float(apart_D.square().sum() + spread - 2 * torch.linalg.svdvals(one_DR.T @ other_DR).sum())


def root_of_features(features_ND: Float[Tensor, "N D"]) -> Float64[Tensor, "D R"]:
    """A root L of the covariance (over N - 1) of some features; raises `InputError` below two samples."""
    samples, dimensions = features_ND.shape
    if samples < 2:
        raise InputError(f"a Fréchet distance needs at least 2 samples of each set, {samples} given; add clips")
    features_ND = _finite(features_ND)
    root_DN = (features_ND - features_ND.mean(0)).T / (samples - 1) ** 0.5
    return root_DN if samples <= dimensions else root_of_covariance(root_DN @ root_DN.T)


def root_of_covariance(covariance_DD: Float[Tensor, "D D"]) -> Float64[Tensor, "D R"]:
    """L with L L^T the given matrix; R is its numerical rank, or D.

    Raises:
        InputError: a value is not finite, or the matrix is not symmetric and positive semi-definite.
    """
    covariance_DD = _checked(covariance_DD)
    root_DD, failed = torch.linalg.cholesky_ex(covariance_DD)
    return _root_of_low_rank(covariance_DD) if int(failed) else root_DD


def _overlap(one_DD: Float64[Tensor, "D D"], other_DD: Float64[Tensor, "D D"]) -> Float64[Tensor, ""]:
    """tr (S1 S2)^(1/2)."""
    (one_root_DD, one_failed), (other_root_DD, other_failed) = (
        torch.linalg.cholesky_ex(covariance_DD) for covariance_DD in (one_DD, other_DD)
    )
    if not int(one_failed) and not int(other_failed):
        product_DD = one_root_DD.T @ other_root_DD
        if len(one_DD) <= _WIDE:
            return torch.linalg.svdvals(product_DD).sum()
        return _sum_of_roots(product_DD.T @ product_DD)
    # Cholesky fails where the rank ends. With the root of the lower rank no eigenvalue is zero but for rounding.
    ends = [int(failed) or len(one_DD) + 1 for failed in (one_failed, other_failed)]
    low_DD, full_DD = (one_DD, other_DD) if ends[0] <= ends[1] else (other_DD, one_DD)
    root_DR = _root_of_low_rank(low_DD)
    return _sum_of_roots(root_DR.T @ full_DD @ root_DR)


def _root_of_low_rank(covariance_DD: Float64[Tensor, "D D"]) -> Float64[Tensor, "D R"]:
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    _refuse_negative(values_D)
    kept = values_D > float(values_D[-1]) * len(values_D) * torch.finfo(torch.float64).eps
    return (vectors_DD[:, kept] * values_D[kept].sqrt()).flip(1)  # the largest first, as in `frechet_distance`


def _sum_of_roots(square_RR: Float64[Tensor, "R R"]) -> Float64[Tensor, ""]:
    """Of the eigenvalues of L1^T S2 L1."""
    values_R = torch.linalg.eigvalsh(square_RR)
    _refuse_negative(values_R)
    return values_R.clamp(min=0).sqrt().sum()


def _refuse_negative(values_R: Float64[Tensor, " R"]) -> None:
    if len(values_R) and float(values_R[0]) < -1e-6 * float(values_R[-1].abs()):
        raise InputError(f"a covariance has the eigenvalue {float(values_R[0]):.3g}; give one of real features")


def _checked(covariance_DD: Tensor) -> Tensor:
    covariance_DD = _finite(covariance_DD)
    if float((covariance_DD - covariance_DD.T).abs().max()) > 1e-9 * float(covariance_DD.diagonal().abs().max()):
        raise InputError("a covariance is not symmetric; give the matrix of one set of features")
    return covariance_DD


def _finite(values: Tensor) -> Tensor:
    values = values.detach().double().cpu()
    if not bool(torch.isfinite(values).all()):
        raise InputError("features of a Fréchet distance are not finite; look at the frames that they come from")
    return values
