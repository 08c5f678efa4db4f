"""RF-Solver inversion on closed forms, and there and back with the shipped base network."""

import math

import pytest
import torch

from worldmodel.checkpoints import shipped
from worldmodel.errors import InputError
from worldmodel.flow.inversion import invert, midpoint
from worldmodel.pipeline import FlowFramesPipeline

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def swirl(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
    """dx/dsigma = 2 sigma x, hence x(1) = e x(0)."""
    return 2 * sigma_B.double()[:, None] * x


def test_the_error_falls_fourfold_when_steps_double() -> None:
    errors = [(invert(swirl, X, steps).x - math.e * X).abs().max().item() for steps in (8, 16, 32, 64)]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert 3.5 < coarse / fine < 4.5


def test_a_field_linear_in_sigma_is_exact() -> None:
    reached = invert(lambda x, sigma_B: sigma_B.double()[:, None].expand_as(x), X, 3).x
    torch.testing.assert_close(reached, X + 0.5, rtol=0, atol=1e-6)  # sigmas reach the network in float32


@pytest.mark.parametrize("steps", [1, 25])
def test_a_step_takes_two_evaluations(steps: int) -> None:
    evaluations = invert(swirl, X, steps).evaluations
    assert evaluations.guided_evals == evaluations.forward_calls == 2 * steps
    assert evaluations.forward_batch == 2


def test_no_steps_are_refused() -> None:
    with pytest.raises(InputError, match="num_steps=0"):
        invert(swirl, X, 0)


def test_there_and_back_with_the_base_network() -> None:
    pipeline = FlowFramesPipeline.from_pretrained(shipped("tiny_base"), dtype=torch.float32)
    backbone = pipeline.backbone
    embeds, mask = backbone.empty_prompt()

    def velocity(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
        return backbone.velocity(x, sigma_B, embeds, mask, 12.0)

    noise = torch.randn(1, 64, 5, 8, 12, generator=torch.Generator().manual_seed(0))
    video = midpoint(velocity, noise, 1.0, 0.0, 10).x
    error = {}
    for steps in (25, 50):
        back = midpoint(velocity, invert(velocity, video, steps).x, 1.0, 0.0, steps).x
        error[steps] = float((back - video).norm() / video.norm())
    assert error[50] < error[25] < 2e-2
