"""Videos in and out in every accepted form, callbacks, and every refused input with its remedy."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from PIL import Image

from worldmodel.errors import InputError
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import present, video_tensor


def as_uint8(video: torch.Tensor) -> torch.Tensor:
    return (video * 255).round().to(torch.uint8)


def as_images(video: torch.Tensor) -> list[list[Image.Image]]:
    return [[Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in one] for one in as_uint8(video)]


def test_every_form_of_video_is_the_same_tensor(video):
    video = as_uint8(video).float() / 255
    expected = video.transpose(1, 2) * 2 - 1
    forms = {
        "float": video,
        "uint8": as_uint8(video),
        "numpy float": video.movedim(2, -1).numpy(),
        "numpy uint8": as_uint8(video).movedim(2, -1).numpy(),
        "images": as_images(video),
    }
    for name, form in forms.items():
        torch.testing.assert_close(video_tensor(form), expected, rtol=0, atol=1e-6, msg=name)
    for name, form in forms.items():
        torch.testing.assert_close(video_tensor(form[0]), expected[:1], rtol=0, atol=1e-6, msg=name)


def test_output_types_show_the_same_frames(ltx, video):
    frames = ltx(video).frames
    array = ltx(video, output_type="np").frames
    assert array.shape == (2, 9, 32, 48, 3) and array.dtype == np.float32
    assert np.array_equal(array, frames.movedim(2, -1).numpy())
    images = ltx(video, output_type="pil").frames
    assert len(images) == 2 and len(images[0]) == 9 and images[0][0].size == (48, 32)
    assert np.array_equal(np.asarray(images[1][3]), np.rint(array[1, 3] * 255).astype(np.uint8))
    assert torch.equal(ltx(video, output_type="latent").frames, ltx(video).latents)


def test_images_survive_the_round_trip(video):
    images = present(as_uint8(video).float() / 255, "pil")
    assert torch.equal(((video_tensor(images) + 1) * 127.5).round().to(torch.uint8).transpose(1, 2), as_uint8(video))


def test_a_tuple_on_request(ltx, video):
    (frames,) = ltx(video, return_dict=False)
    assert torch.equal(frames, ltx(video).frames)
    (frames,) = ltx.rollout(video, 2, return_dict=False)
    assert frames.shape[1] == 18


def test_latents_stand_for_the_video(ltx, video):
    observed = ltx.backbone.encode(video_tensor(video)).mean_BCfhw
    predictions = [ltx(**given, vae_batch_size=None).frames for given in ({"latents": observed}, {"video": video})]
    assert torch.equal(*predictions)


def test_callback_is_called_as_in_diffusers(ltx, video):
    seen = []

    def callback(pipeline, step, timestep, kwargs):
        seen.append((pipeline is ltx, step, timestep.item(), kwargs["latents"].shape))

    out = ltx(video, num_inference_steps=4, callback_on_step_end=callback)
    assert seen == [(True, i, t, out.latents.shape) for i, t in enumerate([1000.0, 750.0, 500.0, 250.0])]


def test_callback_may_replace_the_latents(ltx, video):
    out = ltx(video, callback_on_step_end=lambda pipe, i, t, kwargs: {"latents": torch.zeros_like(kwargs["latents"])})
    assert torch.equal(out.latents, torch.zeros_like(out.latents))


def test_progress_bar_is_diffusers_own(ltx, video, capsys):
    ltx.set_progress_bar_config(disable=False)
    try:
        ltx(video, num_inference_steps=3)
    finally:
        ltx.set_progress_bar_config(disable=True)
    assert "3/3" in capsys.readouterr().err


def frames_of(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros(shape)


BAD_VIDEOS = {
    "count": (frames_of((1, 18, 3, 32, 48)), "18 frames: this backbone needs 8k\\+1; use 17 or 25"),
    "height": (frames_of((1, 9, 3, 30, 48)), "height 30: .* use 32"),
    "width": (frames_of((1, 9, 3, 32, 50)), "width 50: .* use 48"),
    "rank": (frames_of((9, 3, 32)), r"video of shape \[9, 3, 32\]: give \[B, F, 3, H, W\]"),
    "channels last": (frames_of((1, 9, 32, 48, 3)), r"give \[B, F, 3, H, W\]"),
    "channels first": (np.zeros((9, 3, 32, 48)), r"give \[B, F, H, W, 3\]"),
    "empty": (frames_of((1, 0, 3, 32, 48)), "video of shape"),
    "signed range": (torch.full((9, 3, 32, 48), -1.0), "values from -1 to -1: give floats in"),
    "255 range": (torch.full((9, 3, 32, 48), 255.0), "values from 255 to 255"),
    "nan": (torch.full((9, 3, 32, 48), float("nan")), "values from nan"),
    "integers": (torch.zeros(9, 3, 32, 48, dtype=torch.int64), "dtype torch.int64"),
    "path": ("drive.mp4", "video of type str"),
    "empty list": ([], "empty or mixed list"),
    "mixed list": ([Image.new("RGB", (48, 32)), "x"], "empty or mixed list"),
    "sizes": ([Image.new("RGB", (48, 32)), Image.new("RGB", (32, 32))], "videos of different sizes"),
    "lengths": ([[Image.new("RGB", (48, 32))] * 9, [Image.new("RGB", (48, 32))] * 17], "videos of different sizes"),
    "nothing": (None, "video and latents: give exactly one"),
}


@pytest.mark.parametrize("name", BAD_VIDEOS)
def test_bad_videos_are_refused_with_a_remedy(ltx, name):
    bad, message = BAD_VIDEOS[name]
    with pytest.raises(InputError, match=message) as error:
        ltx(bad)
    assert "\n" not in str(error.value)


def test_wan_names_its_own_frame_counts(wan):
    with pytest.raises(InputError, match="18 frames: .* 4k\\+1; use 17 or 21"):
        wan(frames_of((1, 18, 3, 32, 48)))


BAD_OPTIONS = {
    "num_frames=25: .* here 9; .* chunks=3": {"num_frames": 25},
    "num_inference_steps=0": {"num_inference_steps": 0},
    "output_type='mp4': use one of pt, np, pil, latent": {"output_type": "mp4"},
    "frame_rate=0": {"frame_rate": 0},
    "frame_rate=nan": {"frame_rate": float("nan")},
    "vae_batch_size=0": {"vae_batch_size": 0},
    "video and latents": {"latents": torch.zeros(2, 8, 2, 2, 3)},
}


@pytest.mark.parametrize("message", BAD_OPTIONS)
def test_bad_options_are_refused_with_a_remedy(ltx, video, message):
    with pytest.raises(InputError, match=message):
        ltx(video, **BAD_OPTIONS[message])


def test_latents_of_another_model_are_refused(ltx):
    with pytest.raises(InputError, match=r"give \[B, 8, f, h, w\]"):
        ltx(latents=torch.zeros(2, 16, 2, 2, 3))


def test_num_frames_may_repeat_the_observed_count(ltx, video):
    assert torch.equal(ltx(video, num_frames=9).frames, ltx(video).frames)


def test_foreign_parts_are_refused(ltx):
    with pytest.raises(InputError, match="vae AutoencoderKL: use AutoencoderKLLTXVideo or AutoencoderKLWan"):
        FlowFramesPipeline(AutoencoderKL(), ltx.transformer, ltx.scheduler)
    with pytest.raises(InputError, match="use_dynamic_shifting=false"):
        FlowFramesPipeline(ltx.vae, ltx.transformer, FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True))
