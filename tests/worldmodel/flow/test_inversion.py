"""RF-Solver inversion on closed forms, and there and back with networks of the tiny size, random and trained."""

import math

import pytest
import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.checkpoints import shipped
from worldmodel.errors import InputError
from worldmodel.flow.inversion import invert, midpoint
from worldmodel.flow.solvers import Velocity
from worldmodel.models.pipeline import FlowFramesPipeline

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


def velocity_of(backbone: Backbone) -> Velocity:
    embeds, mask = backbone.empty_prompt()
    return lambda x, sigma_B: backbone.velocity(x, sigma_B, embeds, mask, 12.0)


def there_and_back(velocity: Velocity, video: torch.Tensor, steps: int) -> float:
    """L2 error of the inversion and the same solver back, relative to the video's norm."""
    noise = invert(velocity, video, steps).x
    assert (noise - video).norm() > 0.3 * video.norm(), "a field that moves nothing comes back from anywhere"
    return float((midpoint(velocity, noise, 1.0, 0.0, steps).x - video).norm() / video.norm())


def some_noise() -> torch.Tensor:
    return torch.randn(1, 64, 3, 4, 6, generator=torch.Generator().manual_seed(0))


def test_there_and_back_with_random_weights() -> None:
    """A network of the shipped tiny model's size, not trained, with the default number of steps: below 1e-3."""
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=16, latent_channels=64, spatial=16, temporal=4)
    network = tiny_transformer(64, layers=4, heads=3, head_dim=96, caption_channels=16)
    velocity = velocity_of(tiny_backbone(vae.eval(), network.eval()))
    assert there_and_back(velocity, some_noise(), 25) < 1e-3


def test_there_and_back_with_the_shipped_base_network() -> None:
    """Trained, on a video of its own: below 1e-3 with 100 steps, not with 25, for the network is rough in sigma."""
    velocity = velocity_of(FlowFramesPipeline.from_pretrained(shipped("tiny_base"), dtype=torch.float32).backbone)
    video = midpoint(velocity, some_noise(), 1.0, 0.0, 10).x
    errors = {steps: there_and_back(velocity, video, steps) for steps in (25, 100)}
    assert errors[100] < 1e-3 < errors[25] < 5e-2
    frozen = there_and_back(lambda x, sigma_B: velocity(x, torch.full_like(sigma_B, 0.5)), video, 25)
    assert frozen < 1e-3, "told one sigma everywhere, the same network is smooth"
