"""Objectives against their definitions, on the real classes."""

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.datasets.pairs import Batch, LatentPair
from worldmodel.flow import path
from worldmodel.training.config import AutoencoderConfig, DataConfig, TrainConfig
from worldmodel.training.objectives import FlowFramesObjective, IndependentChunks, NoiseToVideo, Reconstruction
from worldmodel.training.order import Draws


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8, spatial=16, temporal=4)
    return tiny_backbone(vae, tiny_transformer(8, layers=1, heads=2, head_dim=16, caption_channels=8))


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(3, 2, 8, 2, 4, 6, generator=generator)
    noise = torch.randn(mean[:, 0].shape, generator=generator)
    latents = LatentPair(mean, torch.full_like(mean[:, 0], 0.1), noise)
    return Batch(latents=latents, frame_rates=(12.0, 12.0, 12.0), seeds=(7, 8, 9))


def pairs() -> LatentPair:
    return batch().latents


def draws() -> Draws:
    return Draws(batch().seeds)


def settings(**change: object) -> TrainConfig:
    return TrainConfig(DataConfig("unused"), **{"sigma": "uniform"} | change)


def flowframes(backbone, sigma: str = "uniform", rho: float = 0.0, shift: float | None = None) -> FlowFramesObjective:
    return FlowFramesObjective(backbone, settings(sigma=sigma, rho=rho, sigma_shift=shift))


def test_flowframes_flows_from_the_observed_to_the_future_chunk(backbone) -> None:
    latents = pairs()
    source, target = flowframes(backbone).coupling(latents, draws())
    assert torch.equal(source, latents.mean[:, 0])
    assert torch.equal(target, latents.mean[:, 1])


def test_target_inversion_mixes_the_source_with_the_inverted_future(backbone) -> None:
    latents = pairs()
    source, target = flowframes(backbone, rho=1.0).coupling(latents, draws())
    assert torch.allclose(source, latents.mean[:, 0] + 0.1 * latents.noise)
    assert torch.equal(target, latents.mean[:, 1])


def test_independent_chunks_come_from_another_pair(backbone) -> None:
    latents = pairs()
    source, target = IndependentChunks(backbone, settings()).coupling(latents, draws())
    assert torch.equal(target, latents.mean[:, 1])
    assert not any(torch.equal(source[row], latents.mean[row, 0]) for row in range(3))


def test_noise_to_video_flows_from_noise_to_observed_and_future_chunks(backbone) -> None:
    latents = pairs()
    objective = NoiseToVideo(backbone, settings())
    chunks = latents.mean.flatten(0, 1)
    seen = set()
    for seed in range(20):
        source, target = objective.coupling(latents, Draws([3 * seed, 3 * seed + 1, 3 * seed + 2]))
        places = [int(torch.stack([(row == chunk).all() for chunk in chunks]).nonzero()) for row in target]
        assert [place // 2 for place in places] == [0, 1, 2]
        seen |= set(places)
        assert abs(float(source.mean())) < 0.2
        assert abs(float(source.std()) - 1) < 0.2
    assert seen == set(range(6))


def test_the_flow_loss_is_the_squared_velocity_error_at_the_drawn_sigma(backbone) -> None:
    means = pairs().mean
    objective = flowframes(backbone, "logit_normal")
    loss = objective(batch())["loss"]
    shift = path.ltx_shift(2 * 4 * 6)
    sigma = torch.cat([path.logit_normal_sigmas(1, row, shift=shift) for row in draws().rows])
    at = path.sample(means[:, 0], means[:, 1], sigma)
    velocity = backbone.velocity(at.x_sigma, sigma, *backbone.empty_prompt(), frame_rate=12.0)
    assert torch.allclose(loss, (velocity - (means[:, 0] - means[:, 1])).square().mean(), rtol=1e-5)


def test_gradients_reach_every_weight_of_the_transformer_and_none_of_the_vae(backbone) -> None:
    objective = flowframes(backbone)
    objective(batch())["loss"].backward()
    assert all(parameter.grad is not None for parameter in backbone.transformer.parameters())
    assert {*objective.parameters()} == {*backbone.transformer.parameters()}
    backbone.transformer.zero_grad()


def test_reconstruction_reports_the_psnr_of_its_error(backbone) -> None:
    chunks = torch.randint(0, 256, (1, 3, 5, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    objective = Reconstruction(backbone, AutoencoderConfig(l1=0.0, kl=0.0))
    losses = objective(Batch(pixels=chunks, seeds=(3,)))
    assert torch.allclose(losses["psnr"], -10 * torch.log10(losses["loss"] / 4), atol=1e-4)


@pytest.mark.parametrize("shift", [None, 2.0])
def test_sigmas_are_drawn_about_the_shift(backbone, shift: float | None) -> None:
    objective = flowframes(backbone, "logit_normal", shift=shift)
    sigma = objective.draw_sigmas(torch.zeros(4000, 8, 2, 4, 6), Draws(range(4000)))
    expected = path.ltx_shift(2 * 4 * 6) if shift is None else shift
    assert abs(float(torch.logit(sigma).mean()) - expected) < 0.1
