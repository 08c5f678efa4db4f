"""What a prediction is: its shape, its cost, its determinism, its way through save and load."""

import pytest
import torch

from worldmodel.flow.solvers import Evaluations
from worldmodel.models.pipeline import FlowFramesPipeline


def test_frames_have_the_layout_of_the_video(pipeline, video):
    out = pipeline(video, num_inference_steps=2)
    assert out.frames.shape == video.shape and out.frames.dtype == torch.float32
    assert 0 <= out.frames.min() and out.frames.max() <= 1
    geometry = pipeline.backbone.geometry
    assert out.latents.shape == (2, *geometry.latent_shape(9, 32, 48))


def test_a_prediction_is_its_parts(pipeline, video):
    """Posterior mean at sigma 1, the network's velocity over the scheduler's sigmas, decode."""
    backbone = pipeline.backbone
    x = backbone.encode(video.transpose(1, 2) * 2 - 1).mean_BCfhw
    embeds, mask = backbone.empty_prompt()
    out = pipeline(video, num_inference_steps=1, frame_rate=10.0)
    sigma_B = torch.full((2,), pipeline.scheduler.sigmas[0].item())
    with torch.no_grad():
        x = x - sigma_B[0] * backbone.velocity(x, sigma_B, embeds.expand(2, -1, -1), mask, 10.0)
        frames = (backbone.decode(x).transpose(1, 2) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(out.latents, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(out.frames, frames, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 40])
@pytest.mark.parametrize("name", ["ltx", "wan"])
def test_evaluations_are_the_steps_asked_for(name, steps, video, request):
    pipeline = request.getfixturevalue(name)
    calls = []
    hook = pipeline.transformer.register_forward_hook(lambda module, args, out: calls.append(len(out[0])))
    evaluations = pipeline(video, num_inference_steps=steps, output_type="latent", guidance_scale=3.5).evaluations
    hook.remove()
    assert evaluations == Evaluations(steps, steps, 2, "no prompt")
    assert calls == [2] * steps


def test_five_evaluations_by_default(ltx, video):
    assert ltx(video).evaluations.guided_evals == 5


def test_prediction_is_deterministic(pipeline, video):
    torch.manual_seed(1)
    first = pipeline(video, num_inference_steps=2).frames
    torch.manual_seed(2)
    assert torch.equal(first, pipeline(video, num_inference_steps=2).frames)


def test_the_generator_is_for_decode_noise_only(ltx, noisy_ltx, video):
    def frames(pipeline, seed):
        return pipeline(video, num_inference_steps=1, generator=torch.Generator().manual_seed(seed)).frames

    assert torch.equal(frames(ltx, 1), frames(ltx, 2))
    assert torch.equal(frames(noisy_ltx, 1), frames(noisy_ltx, 1))
    assert not torch.equal(frames(noisy_ltx, 1), frames(noisy_ltx, 2))


def test_cameras_do_not_see_each_other(pipeline, video):
    both = pipeline(video, num_inference_steps=2).frames
    one = pipeline(video[1:], num_inference_steps=2).frames
    torch.testing.assert_close(both[1:], one, rtol=0, atol=1e-5)


def test_vae_batch_size_changes_memory_only(pipeline, video):
    whole = pipeline(video, num_inference_steps=2).frames
    torch.testing.assert_close(
        pipeline(video, num_inference_steps=2, vae_batch_size=None).frames, whole, rtol=0, atol=1e-5
    )


def test_frame_rate_reaches_the_positions_of_ltx(ltx, wan, video):
    latents = [ltx(video, frame_rate=rate, output_type="latent").frames for rate in (12.0, 6.0)]
    assert not torch.allclose(*latents, atol=1e-6)
    assert torch.equal(*(wan(video, frame_rate=rate, output_type="latent").frames for rate in (12.0, 6.0)))


def test_save_and_load_give_the_same_bit_for_bit(pipeline, video, tmp_path):
    expected = pipeline(video)
    pipeline.save_pretrained(tmp_path / "model")
    loaded = FlowFramesPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    out = loaded(video)
    assert torch.equal(out.frames, expected.frames) and torch.equal(out.latents, expected.latents)
    assert loaded.backbone.name == pipeline.backbone.name
    assert loaded.backbone.default_guidance == pipeline.backbone.default_guidance
    assert (
        sorted(path.suffix for path in (tmp_path / "model").rglob("*.*") if path.suffix not in (".json",))
        == [".safetensors"] * 3
    )


def test_loaded_weights_lie_where_torch_would_put_them(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    loaded = FlowFramesPipeline.from_pretrained(tmp_path)
    for module in (loaded.vae, loaded.transformer, loaded.prompt_cache):
        assert all(weight.data_ptr() % 64 == 0 for weight in (*module.parameters(), *module.buffers()))


def test_decode_options_survive_save_and_load(noisy_ltx, tmp_path):
    backbone = noisy_ltx.backbone
    backbone.decode_timestep, backbone.decode_noise_scale = 0.1, 0.0
    FlowFramesPipeline.from_backbone(backbone).save_pretrained(tmp_path)
    loaded = FlowFramesPipeline.from_pretrained(tmp_path).backbone
    assert (loaded.decode_timestep, loaded.decode_noise_scale) == (0.1, 0.0)


@pytest.mark.parametrize("name", ["ltx", "noisy_ltx", "wan"])
def test_bfloat16_stays_near_float32(name, video, tmp_path, request):
    pipeline = request.getfixturevalue(name)
    pipeline.save_pretrained(tmp_path)
    half = FlowFramesPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    assert half.transformer.dtype == half.vae.dtype == torch.bfloat16
    out, expected = half(video), pipeline(video)
    assert out.frames.dtype == out.latents.dtype == torch.float32
    assert (out.latents - expected.latents).abs().mean() < 0.05 * expected.latents.abs().mean()


def test_an_exchanged_scheduler_is_used(ltx, wan, video):
    pipeline = FlowFramesPipeline(ltx.vae, ltx.transformer, wan.scheduler, prompt_cache=ltx.prompt_cache)
    pipeline.set_progress_bar_config(disable=True)
    euler, unipc = (one(video, output_type="latent").frames for one in (ltx, pipeline))
    assert not torch.equal(euler, unipc)
    # both follow the same field, and at many steps they meet
    coarse = (euler - unipc).abs().max()
    fine = [one(video, num_inference_steps=60, output_type="latent").frames for one in (ltx, pipeline)]
    assert (fine[0] - fine[1]).abs().max() < coarse / 2
