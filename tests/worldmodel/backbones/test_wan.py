"""WanBackbone against the diffusers pipeline it must agree with, and its own promises."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.errors import InputError

SIZE = (17, 32, 48)


@pytest.fixture
def backbone(wan_modules) -> WanBackbone:
    return WanBackbone(*wan_modules)


def video(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *SIZE) * 2 - 1


def latents(backbone: WanBackbone, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, *backbone.geometry.latent_shape(*SIZE))


@torch.no_grad()
def test_sign_time_and_prompt_padding_give_the_pipelines_sample(backbone: WanBackbone) -> None:
    """Three Euler steps of our velocity end where `WanPipeline` with the same scheduler ends."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=backbone.vae, scheduler=scheduler, transformer=backbone.transformer
    )
    pipeline.set_progress_bar_config(disable=True)
    noise_BCfhw, embeds = latents(backbone), torch.randn(1, 7, 24)
    padded = torch.cat([embeds, torch.zeros(1, 505, 24)], dim=1)
    theirs = pipeline(
        prompt_embeds=padded,
        latents=noise_BCfhw,
        height=SIZE[1],
        width=SIZE[2],
        num_frames=SIZE[0],
        num_inference_steps=3,
        guidance_scale=1.0,
        output_type="latent",
        return_dict=False,
    )[0]
    x_BCfhw = noise_BCfhw
    for sigma, following in zip(scheduler.sigmas[:-1], scheduler.sigmas[1:], strict=True):
        x_BCfhw = x_BCfhw + (following - sigma) * backbone.velocity(x_BCfhw, sigma[None], embeds)
    assert (x_BCfhw - noise_BCfhw).abs().max() > 0.1
    torch.testing.assert_close(x_BCfhw, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_5_latents_of_wan_decode_to_17_frames(backbone: WanBackbone) -> None:
    assert backbone.encode(video(2)).mean_BCfhw.shape == (2, 16, 5, 4, 6)
    decoded = backbone.decode(torch.randn(1, 16, 5, 4, 6))
    assert decoded.shape == (1, 3, *SIZE) and decoded.abs().max() <= 1.0
    assert backbone.geometry.tokens(17, 240, 416) == 1950


@torch.no_grad()
def test_posterior_has_mean_and_std_of_the_observed_chunk(backbone: WanBackbone) -> None:
    frames = video()
    raw = backbone.vae.encode(frames).latent_dist
    config = backbone.vae.config
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (config.latents_mean, config.latents_std))
    posterior = backbone.encode(frames)
    torch.testing.assert_close(posterior.mean_BCfhw, (raw.mean - mean) / std)
    torch.testing.assert_close(posterior.std_BCfhw, torch.exp(0.5 * raw.logvar) / std)
    assert posterior.std_BCfhw.min() > 0


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((18, 32, 48), "18 frames: this backbone needs 4k.1; use 17 or 21"),
        ((17, 40, 48), "height 40: this backbone needs a multiple of 16; use 32"),
    ],
)
def test_sizes_that_do_not_fit_name_those_that_do(backbone, size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        backbone.encode(torch.zeros(1, 3, *size))


@torch.no_grad()
def test_masked_tokens_count_as_padding(backbone: WanBackbone) -> None:
    x_BCfhw, sigma_B, embeds = latents(backbone, 2), torch.tensor([0.3, 0.8]), torch.randn(1, 6, 24)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    masked = backbone.velocity(x_BCfhw, sigma_B, embeds, mask)
    assert torch.equal(masked, backbone.velocity(x_BCfhw, sigma_B, embeds[:, :4]))
    assert not torch.equal(masked, backbone.velocity(x_BCfhw, sigma_B, embeds))


def test_a_prompt_that_is_too_long(backbone: WanBackbone) -> None:
    with pytest.raises(InputError, match="600 tokens: Wan takes 512"):
        backbone.velocity(latents(backbone), torch.ones(1), torch.zeros(1, 600, 24))


def test_empty_prompt_is_all_padding(wan_modules) -> None:
    embeds, mask = WanBackbone(*wan_modules).empty_prompt()
    assert embeds.shape == (1, 1, 24) and not embeds.any() and mask is None
    cached = torch.randn(1, 3, 24)
    assert torch.equal(WanBackbone(*wan_modules, empty_prompt_embeds=cached).empty_prompt()[0], cached)


def test_gradients_under_autocast(backbone: WanBackbone) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        velocity = backbone.velocity(latents(backbone), torch.tensor([0.3]), *backbone.empty_prompt())
    velocity.square().mean().backward()
    assert velocity.dtype == torch.float32
    assert [name for name, weight in backbone.transformer.named_parameters() if weight.grad is None] == []


def test_default_scheduler_is_the_published_one(backbone: WanBackbone) -> None:
    scheduler = backbone.default_scheduler()
    assert isinstance(scheduler, UniPCMultistepScheduler)
    assert (scheduler.config.prediction_type, scheduler.config.use_flow_sigmas) == ("flow_prediction", True)
    assert scheduler.config.flow_shift == 3.0


def test_modules_that_do_not_belong_together(wan_modules) -> None:
    image_to_video = WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, in_channels=36, ffn_dim=8, num_layers=1, text_dim=8, freq_dim=8
    )
    with pytest.raises(InputError, match="in_channels 36: the VAE has 16 latent channels"):
        WanBackbone(wan_modules[0], image_to_video)


@torch.no_grad()
def test_real_width_runs_on_the_cpu(wan_modules) -> None:
    """Wan 1.3B's width with 2 of its 30 layers, on 17 frames at 32 x 48."""
    transformer = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=2)
    backbone = WanBackbone(wan_modules[0], transformer)
    velocity = backbone.velocity(latents(backbone), torch.tensor([1.0]), *backbone.empty_prompt())
    assert velocity.shape == (1, 16, 5, 4, 6) and velocity.isfinite().all()
