"""LTXBackbone against the diffusers pipeline it must agree with, and its own promises."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline

from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.errors import InputError

SIZE = (17, 64, 96)


@pytest.fixture
def backbone(ltx_modules) -> LTXBackbone:
    return LTXBackbone(*ltx_modules)


@pytest.fixture
def pipeline(backbone: LTXBackbone) -> LTXConditionPipeline:
    pipeline = LTXConditionPipeline(
        scheduler=backbone.default_scheduler(),
        vae=backbone.vae,
        text_encoder=None,
        tokenizer=None,
        transformer=backbone.transformer,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def video(batch: int = 1, size: tuple[int, int, int] = SIZE) -> torch.Tensor:
    return torch.rand(batch, 3, *size) * 2 - 1


def latents(backbone: LTXBackbone, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, *backbone.geometry.latent_shape(*SIZE))


def test_positions_are_the_pipelines(pipeline: LTXConditionPipeline, backbone: LTXBackbone) -> None:
    f, h, w = backbone.geometry.latent_shape(*SIZE)[1:]
    ids = pipeline._prepare_video_ids(1, f, h, w, device="cpu")
    theirs = pipeline._scale_video_ids(ids, scale_factor=16, scale_factor_t=4, frame_index=0, device="cpu").float()
    theirs[:, 0] = theirs[:, 0] * (1.0 / 12.0)
    ours = backbone.video_coords(torch.empty(1, 1, f, h, w), 12.0)
    assert torch.equal(ours, theirs)
    assert ours[0, 0].unique().mul(12.0).tolist() == pytest.approx([0, 1, 5, 9, 13])  # latent 0 covers one frame


@torch.no_grad()
def test_sign_time_and_positions_give_the_pipelines_sample(pipeline, backbone: LTXBackbone) -> None:
    """Three Euler steps of our velocity end where the pretrained pipeline ends: v = noise - data, t = 1000 sigma."""
    shape = (1, *backbone.geometry.latent_shape(*SIZE))
    noise_BCfhw = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    embeds, mask = torch.randn(1, 5, 10), torch.tensor([[1, 1, 1, 0, 0]])
    sigmas = [1.0, 0.6, 0.25]
    theirs = pipeline(
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        generator=torch.Generator().manual_seed(5),  # the pipeline draws its noise first
        height=SIZE[1],
        width=SIZE[2],
        num_frames=SIZE[0],
        frame_rate=12,
        timesteps=[1000 * sigma for sigma in sigmas],
        guidance_scale=1.0,
        output_type="latent",
        return_dict=False,
    )[0]
    x_BCfhw = noise_BCfhw
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        velocity = backbone.velocity(x_BCfhw, torch.tensor([sigma]), embeds, mask, frame_rate=12.0)
        x_BCfhw = x_BCfhw + (following - sigma) * velocity
    assert (x_BCfhw - noise_BCfhw).abs().max() > 0.1
    torch.testing.assert_close(x_BCfhw, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decode_is_the_pipelines_given_the_same_noise(pipeline, backbone: LTXBackbone) -> None:
    z_BCfhw = latents(backbone, batch=1)
    raw = pipeline._denormalize_latents(
        z_BCfhw, backbone.vae.latents_mean, backbone.vae.latents_std, backbone.vae.config.scaling_factor
    )
    noise = torch.randn(z_BCfhw.shape, generator=torch.Generator().manual_seed(3))
    theirs = backbone.vae.decode(0.975 * raw + 0.025 * noise, torch.tensor([0.05])).sample
    ours = backbone.decode(z_BCfhw, torch.Generator().manual_seed(3))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not torch.equal(ours, backbone.decode(z_BCfhw, torch.Generator().manual_seed(4)))


@torch.no_grad()
def test_decode_without_generator_is_the_same_alone_and_in_a_batch(backbone: LTXBackbone) -> None:
    z_BCfhw = latents(backbone)
    together = backbone.decode(z_BCfhw)
    assert together.shape == (2, 3, *SIZE)
    assert torch.equal(together, backbone.decode(z_BCfhw))
    torch.testing.assert_close(together[1:], backbone.decode(z_BCfhw[1:]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_posterior_is_normalised_per_channel(backbone: LTXBackbone) -> None:
    frames = video(2)
    raw = backbone.vae.encode(frames).latent_dist
    posterior = backbone.encode(frames)
    shift, scale = (v.view(1, -1, 1, 1, 1) for v in (backbone.vae.latents_mean, backbone.vae.latents_std))
    torch.testing.assert_close(posterior.mean_BCfhw, (raw.mean - shift) / scale)
    torch.testing.assert_close(posterior.std_BCfhw, (raw.std / scale).expand_as(posterior.std_BCfhw))


@torch.no_grad()
def test_17_frames_are_3_latents_of_ltx_and_come_back_as_17() -> None:
    backbone = tiny_backbone(tiny_vae(4, latent_channels=8, spatial=32, temporal=8))
    assert backbone.encode(video(1, (17, 64, 96))).mean_BCfhw.shape == (1, 8, 3, 2, 3)
    assert backbone.decode(torch.randn(1, 8, 3, 2, 3)).shape == (1, 3, 17, 64, 96)
    assert backbone.geometry.tokens(17, 64, 96) == 18


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((18, 64, 96), "18 frames: this backbone needs 8k+1; use 17 or 25"),
        ((17, 70, 96), "height 70: this backbone needs a multiple of 32; use 64"),
        ((17, 64, 10), "width 10: this backbone needs a multiple of 32; use 32"),
        ((0, 64, 96), "0 frames: this backbone needs 8k+1; use 1 or 9"),
    ],
)
def test_sizes_that_do_not_fit_name_those_that_do(size: tuple[int, int, int], message: str) -> None:
    backbone = tiny_backbone(tiny_vae(4, latent_channels=8, spatial=32, temporal=8))
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        backbone.encode(torch.zeros(1, 3, *size))


@torch.no_grad()
def test_one_timestep_a_clip_equals_one_per_token(backbone: LTXBackbone) -> None:
    x_BCfhw, sigma_B = latents(backbone), torch.tensor([0.2, 0.9])
    embeds, mask = backbone.empty_prompt()
    ours = backbone.velocity(x_BCfhw, sigma_B, embeds, mask)
    tokens = x_BCfhw.flatten(2).transpose(1, 2)
    theirs = backbone.transformer(
        hidden_states=tokens,
        encoder_hidden_states=embeds.expand(2, -1, -1),
        timestep=(1000 * sigma_B)[:, None].expand(-1, tokens.shape[1]),
        encoder_attention_mask=mask.expand(2, -1),
        video_coords=backbone.video_coords(x_BCfhw, 12.0).expand(2, -1, -1),
        return_dict=False,
    )[0]
    torch.testing.assert_close(ours.flatten(2).transpose(1, 2), theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frame_rate_moves_positions(backbone: LTXBackbone) -> None:
    x_BCfhw, sigma_B = latents(backbone), torch.tensor([0.5, 0.5])
    slow = backbone.velocity(x_BCfhw, sigma_B, *backbone.empty_prompt(), frame_rate=2.0)
    fast = backbone.velocity(x_BCfhw, sigma_B, *backbone.empty_prompt(), frame_rate=12.0)
    assert (slow - fast).abs().max() > 1e-4


def test_gradients_reach_every_weight_also_under_autocast_and_after_inference_mode(backbone: LTXBackbone) -> None:
    with torch.inference_mode():  # fills the cache of positions
        backbone.velocity(latents(backbone), torch.tensor([0.5, 0.5]), *backbone.empty_prompt())
    with torch.autocast("cpu", torch.bfloat16):
        posterior = backbone.encode(video(2))
        assert posterior.mean_BCfhw.dtype == posterior.std_BCfhw.dtype == torch.float32
        velocity = backbone.velocity(posterior.mean_BCfhw, torch.tensor([0.3, 1.0]), *backbone.empty_prompt())
        assert velocity.dtype == torch.float32
        loss = velocity.square().mean() + posterior.std_BCfhw.mean() + backbone.decode(velocity).square().mean()
    loss.backward()
    for module in (backbone.vae, backbone.transformer):
        silent = [name for name, weight in module.named_parameters() if weight.grad is None]
        assert silent == []


@torch.no_grad()
def test_half_precision_weights_take_float32_latents(backbone: LTXBackbone) -> None:
    backbone.transformer.to(torch.bfloat16)
    backbone.vae.to(torch.bfloat16)
    z_BCfhw = backbone.encode(video()).mean_BCfhw
    assert backbone.velocity(z_BCfhw, torch.tensor([0.5]), *backbone.empty_prompt()).dtype == torch.float32
    assert backbone.decode(z_BCfhw).dtype == torch.bfloat16


@torch.no_grad()
def test_a_wrapped_transformer_serves(backbone: LTXBackbone) -> None:
    x_BCfhw, sigma_B = latents(backbone), torch.tensor([0.5, 0.1])
    bare = backbone.velocity(x_BCfhw, sigma_B, *backbone.empty_prompt())
    backbone.transformer = torch.nn.DataParallel(backbone.transformer)  # hides config and dtype, as DDP does
    assert torch.equal(backbone.velocity(x_BCfhw, sigma_B, *backbone.empty_prompt()), bare)


def test_empty_prompt(ltx_modules) -> None:
    embeds, mask = LTXBackbone(*ltx_modules).empty_prompt()
    assert embeds.shape == (1, 1, 10) and not embeds.any() and mask.tolist() == [[1.0]]
    cached, cached_mask = torch.randn(1, 4, 10), torch.ones(1, 4)
    embeds, mask = LTXBackbone(*ltx_modules, empty_prompt_embeds=cached, empty_prompt_mask=cached_mask).empty_prompt()
    assert torch.equal(embeds, cached) and torch.equal(mask, cached_mask)


def test_default_scheduler_keeps_sigma_and_timestep_together(backbone: LTXBackbone) -> None:
    scheduler = backbone.default_scheduler()
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    scheduler.set_timesteps(sigmas=[1.0, 0.5])
    assert scheduler.sigmas.tolist() == [1.0, 0.5, 0.0] and scheduler.timesteps.tolist() == [1000.0, 500.0]


def test_modules_that_do_not_belong_together() -> None:
    with pytest.raises(InputError, match="in_channels 16: the VAE has 8 latent channels"):
        LTXBackbone(tiny_vae(4, latent_channels=8), tiny_transformer(16))


@pytest.mark.parametrize(("spatial", "temporal"), [(32, 8), (32, 4), (16, 8), (16, 4), (8, 2)])
def test_tiny_has_the_ratios_asked_for(spatial: int, temporal: int) -> None:
    geometry = tiny_backbone(tiny_vae(4, latent_channels=4, spatial=spatial, temporal=temporal)).geometry
    assert (geometry.channels, geometry.spatial, geometry.temporal) == (4, spatial, temporal)


def test_tiny_refuses_ratios_that_cannot_be_built() -> None:
    for spatial, temporal in ((16, 3), (12, 8), (16, 1), (16, 0), (16, -4)):
        with pytest.raises(InputError, match="temporal must be 2, 4 or 8"):
            tiny_vae(4, spatial=spatial, temporal=temporal)


@torch.no_grad()
def test_real_width_runs_on_the_cpu() -> None:
    """LTX 2B's width with 2 of its 28 layers, on the tokens of 17 frames at 64 x 96."""
    transformer = tiny_transformer(128, layers=2, heads=32, head_dim=64, caption_channels=4096)
    backbone = LTXBackbone(tiny_vae(4, latent_channels=128, spatial=32, temporal=8), transformer)
    z_BCfhw = backbone.encode(video(1, (17, 64, 96))).mean_BCfhw
    velocity = backbone.velocity(z_BCfhw, torch.tensor([1.0]), *backbone.empty_prompt())
    assert velocity.shape == (1, 128, 3, 2, 3) and velocity.isfinite().all()
