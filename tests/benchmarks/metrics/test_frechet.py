"""The distance against closed forms, a QR reference and torchmetrics' own."""

import pytest
import torch
from gaussian_features import features, reference
from torchmetrics.image.fid import FrechetInceptionDistance

from worldmodel.benchmarks.metrics.frechet import (
    frechet_distance,
    frechet_distance_of_features,
    root_of_covariance,
    root_of_features,
)
from worldmodel.errors import InputError


def gaussian(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean(0), x.T.cov()


def transported(dimensions: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """A Gaussian, its image under x -> A x + b with A symmetric and positive, and their distance.

    Such a map is the optimal transport between the two (Brenier), so (S1 S2)^(1/2) has the trace of A S1, though S1
    and S2 = A S1 A do not commute.
    """
    random = torch.Generator().manual_seed(dimensions)
    one, other = (torch.randn(dimensions, dimensions, generator=random, dtype=torch.float64) for _ in range(2))
    falling = torch.linspace(0, -2, dimensions, dtype=torch.float64).exp()
    covariance = (one * falling) @ (one * falling).T / dimensions
    moved = torch.eye(dimensions, dtype=torch.float64) + other @ other.T / dimensions
    means = torch.zeros(dimensions, dtype=torch.float64), torch.full((dimensions,), 0.1, dtype=torch.float64)
    image = moved @ covariance @ moved
    apart = float((means[0] - means[1]).square().sum() + covariance.trace() + image.trace())
    exact = apart - 2 * float((moved * covariance).sum())
    return means[0], covariance, means[1], (image + image.T) / 2, exact


@pytest.mark.parametrize("dimensions", [1, 2, 64, 400, 768, 2048])
def test_equals_the_closed_form(dimensions: int) -> None:
    *gaussians, exact = transported(dimensions)
    value = frechet_distance(*gaussians)
    print(f"\n{dimensions} dimensions: relative difference {abs(value / exact - 1):.1e}")
    assert value == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(("dimensions", "samples"), [(64, 20), (64, 63), (64, 64), (64, 65), (400, 256), (768, 500)])
def test_fewer_samples_than_dimensions(dimensions: int, samples: int) -> None:
    one, other = features(dimensions, samples, 0), features(dimensions, samples + 3, 1)
    exact = reference(one, other)
    assert frechet_distance(*gaussian(one), *gaussian(other)) == pytest.approx(exact, rel=1e-6)
    assert frechet_distance_of_features(one, other) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("samples", [400, 1060, 1300])
def test_wide_features_that_do_not_come_sorted_by_variance(samples: int) -> None:
    order = torch.randperm(1100, generator=torch.Generator().manual_seed(0))
    spread = torch.linspace(0, -9, 1100, dtype=torch.float64).exp()
    one, other = (features(1100, samples, seed)[:, order] * spread[order] for seed in (0, 1))
    exact = reference(one, other)
    assert frechet_distance(*gaussian(one), *gaussian(other)) == pytest.approx(exact, rel=1e-8)
    assert frechet_distance_of_features(one, other) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(("first", "second"), [(20, 40), (40, 20), (30, 200), (200, 30)])
def test_ranks_that_differ(first: int, second: int) -> None:
    one, other = features(64, first, 0), features(64, second, 1)
    exact = reference(one, other)
    assert frechet_distance(*gaussian(one), *gaussian(other)) == pytest.approx(exact, rel=1e-8)
    assert frechet_distance_of_features(one, other) == pytest.approx(exact, rel=1e-8)


def test_a_set_without_any_spread() -> None:
    one, same = features(64, 200, 0), torch.ones(5, 64, dtype=torch.float64)
    exact = float((one.mean(0) - 1).square().sum() + one.T.cov().trace())
    assert frechet_distance(*gaussian(one), *gaussian(same)) == pytest.approx(exact, rel=1e-12)
    assert frechet_distance_of_features(same, one) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("width", "samples"), [(64, 500), (2048, 2300)])
def test_equals_torchmetrics(width: int, samples: int) -> None:
    class Given(torch.nn.Module):
        num_features = width

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows

    theirs = FrechetInceptionDistance(feature=Given())
    one, other = features(width, samples, 0), features(width, samples, 1)
    theirs.update(one, real=True)
    theirs.update(other, real=False)
    value, expected = frechet_distance(*gaussian(one), *gaussian(other)), float(theirs.compute())
    print(f"\ntorchmetrics at {width}: relative difference {abs(value / expected - 1):.1e}")
    assert value == pytest.approx(expected, rel=1e-6)


def test_dimensions_without_variance() -> None:
    one, other = features(64, 200, 0), features(64, 200, 1)
    with_nothing = (torch.cat([x, torch.zeros(200, 3)], dim=1) for x in (one, other))
    exact = frechet_distance(*gaussian(one), *gaussian(other))
    assert frechet_distance(*(y for x in with_nothing for y in gaussian(x))) == pytest.approx(exact, rel=1e-10)


def test_nothing_is_zero_far_from_itself_and_order_does_not_matter() -> None:
    one, other = features(64, 40, 0), features(64, 300, 1)
    assert frechet_distance(*gaussian(one), *gaussian(one)) == pytest.approx(0.0, abs=1e-12)
    there, back = frechet_distance_of_features(one, other), frechet_distance_of_features(other, one)
    assert there == pytest.approx(back, rel=1e-12)
    assert frechet_distance_of_features(one, one + 2.0) == pytest.approx(64 * 4.0, rel=1e-12)


def test_root_is_a_root() -> None:
    few = features(64, 30, 0)
    for root in (root_of_features(few), root_of_covariance(few.T.cov())):
        assert torch.allclose(root @ root.T, few.T.cov(), atol=1e-14)
        assert root.shape[1] <= 30


def test_refusals() -> None:
    good = features(8, 20, 0)
    mean, covariance = gaussian(good)
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(mean, covariance * float("nan"), mean, covariance)
    with pytest.raises(InputError, match="not symmetric"):
        frechet_distance(mean, covariance + torch.ones(8, 8).triu(1), mean, covariance)
    with pytest.raises(InputError, match="eigenvalue"):
        frechet_distance(mean, -covariance, mean, covariance)
    with pytest.raises(InputError, match="at least 2 samples"):
        frechet_distance_of_features(good[:1], good)
