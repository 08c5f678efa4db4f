"""The inversion benchmark: known errors on closed forms, and all of it on a small network."""

import math

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.benchmarks.studies import inversion_round_trip as benchmark
from worldmodel.flow.inversion import midpoint

LATENTS = (8, 2, 2, 3)  # of 9 frames of 32 x 48
X = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def small_backbone():
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return tiny_backbone(vae.eval(), tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8).eval())


def swirl(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
    """dx/dsigma = 2 sigma x, hence x(1) = e x(0)."""
    return 2 * sigma_B.double()[:, None] * x


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_one_way_is_of_second_order_on_every_grid(shift: float) -> None:
    errors = [
        float((benchmark.follow(swirl, X, benchmark.grid(steps, shift)).x - math.e * X).norm()) for steps in (32, 64)
    ]
    assert 3.4 < errors[0] / errors[1] < 4.6


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_there_and_back_is_of_third_order_at_two_evaluations_a_step(shift: float) -> None:
    trips = benchmark.sweep(swirl, X, (32, 64), shift)
    assert [trip["evaluations_per_step"] for trip in trips] == [2, 2]
    for coarse, fine in zip(*(trip["errors"] for trip in trips), strict=True):
        assert 7 < coarse / fine < 9


def test_equal_steps_are_those_of_the_library() -> None:
    followed, whole = benchmark.follow(swirl, X, benchmark.grid(8)), midpoint(swirl, X, 0.0, 1.0, 8)
    assert followed.evaluations == whole.evaluations
    torch.testing.assert_close(followed.x, whole.x)


def test_a_shift_above_one_puts_sigmas_near_one() -> None:
    assert benchmark.grid(4, 3.0)[::4] == [0.0, 1.0]
    assert benchmark.grid(2, 3.0)[1] == 0.75


def test_the_verdict_names_the_first_number_of_steps_from_which_all_reach_the_goal() -> None:
    trips = [{"steps": steps, "errors": [0.0, worst]} for steps, worst in ((10, 1e-4), (25, 1e-3), (50, 9e-4))]
    assert "from 50 steps on" in benchmark.verdict("a grid", trips)
    assert "missed" in benchmark.verdict("a grid", trips[:2])


def test_a_smoothed_timestep_changes_the_field_along_sigma_less() -> None:
    backbone = small_backbone()
    velocity, x = benchmark.velocity_of(backbone, 12.0), torch.randn(1, *LATENTS)

    def change() -> float:
        return benchmark.relative(velocity(x, torch.tensor([0.503])), velocity(x, torch.tensor([0.5])))[0]

    rough, network = change(), backbone.transformer
    network.time_embed = benchmark.SmoothedTime(network.time_embed, 0.03)
    assert 0 < change() < rough / 2


def test_all_of_it_on_a_small_network() -> None:
    backbone = small_backbone()
    embed = backbone.transformer.time_embed
    found = benchmark.measure(backbone, torch.randn(2, *LATENTS), 12.0, (2, 4))
    assert backbone.transformer.time_embed is embed
    for trips in (*found["grids"].values(), *found["fields"].values()):
        assert all(math.isfinite(error) and len(trip["errors"]) == 2 for trip in trips for error in trip["errors"])
    assert "float32, 2 evaluations a step." in benchmark.text_of(found | {"latents": list(LATENTS)})
