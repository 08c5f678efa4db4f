"""The path against the paper's own form, and the sigma samplers against their distributions."""

import pytest
import torch

from worldmodel.flow.path import logit_normal_sigmas, ltx_shift, sample, uniform_sigmas


@pytest.fixture
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(6, 4, 3, 2, 5, generator=generator, dtype=torch.float64) for _ in range(2))


def test_both_ends_are_exact(ends):
    source, target = ends
    assert torch.equal(sample(source, target, torch.zeros(6)).x_sigma, target)
    assert torch.equal(sample(source, target, torch.ones(6)).x_sigma, source)


def test_sigma_form_equals_paper_form(ends):
    """Paper Algorithm 1, line 9 and 10: x = (1 - t) x0 + t x1 and u = x1 - x0, with t = 1 - sigma."""
    x0, x1 = ends
    sigma_B = torch.linspace(0, 1, 6, dtype=torch.float64)
    t = (1 - sigma_B).reshape(-1, 1, 1, 1, 1)
    point = sample(x0, x1, sigma_B)
    torch.testing.assert_close(point.x_sigma, (1 - t) * x0 + t * x1, rtol=0, atol=1e-15)
    # dx/dsigma = -dx/dt
    assert torch.equal(point.velocity, -(x1 - x0))
    # one paper step of length dt and one sigma step of length -dt are the same move
    dt = 0.125
    torch.testing.assert_close(point.x_sigma + dt * (x1 - x0), point.x_sigma + -dt * point.velocity, rtol=0, atol=0)


def test_velocity_is_the_derivative_in_sigma_with_the_pretrained_sign(ends):
    source, target = ends
    low, high = (sample(source, target, torch.full((6,), s, dtype=torch.float64)) for s in (0.25, 0.75))
    torch.testing.assert_close((high.x_sigma - low.x_sigma) / 0.5, low.velocity, rtol=0, atol=1e-14)
    # Pretraining has noise in the place of the source, and LTX and Wan learn noise - data.
    assert torch.equal(low.velocity, source - target)
    # One Euler step over the whole path reaches the target.
    torch.testing.assert_close(source + (0 - 1) * low.velocity, target, rtol=0, atol=1e-15)


def test_each_sample_has_its_own_sigma(ends):
    source, target = ends
    sigma_B = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0, 0.5], dtype=torch.float64)
    x = sample(source, target, sigma_B).x_sigma
    assert torch.equal(x[0], target[0]) and torch.equal(x[1], source[1])
    torch.testing.assert_close(x[2], (source[2] + target[2]) / 2)


def test_ltx_shift_goes_through_the_published_points():
    assert ltx_shift(1024) == pytest.approx(0.95)
    assert ltx_shift(4096) == pytest.approx(2.05)
    assert ltx_shift(288) == pytest.approx(0.686, abs=5e-4)
    assert ltx_shift(576) == pytest.approx(0.790, abs=5e-4)


def test_logit_normal_has_the_shift_as_its_median_in_logits():
    sigma_B = logit_normal_sigmas(100_000, torch.Generator().manual_seed(1), shift=ltx_shift(288))
    logits_B = torch.logit(sigma_B.double())
    assert logits_B.mean().item() == pytest.approx(0.6865, abs=0.01)
    assert logits_B.std().item() == pytest.approx(1.0, abs=0.01)
    assert 0 < sigma_B.min() and sigma_B.max() < 1


def test_uniform_sigmas_fill_the_unit_interval():
    sigma_B = uniform_sigmas(100_000, torch.Generator().manual_seed(1))
    counts = torch.histc(sigma_B, bins=10, min=0, max=1)
    assert counts.min() > 9_600 and counts.max() < 10_400


@pytest.mark.parametrize("draw", [uniform_sigmas, lambda *args: logit_normal_sigmas(*args, shift=0.7)])
def test_sigmas_repeat_with_their_seed(draw):
    first, again, other = (draw(8, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
