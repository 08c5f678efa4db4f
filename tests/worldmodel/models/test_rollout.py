"""A rollout: each chunk starts where the one before ended."""

import pytest
import torch

from worldmodel.errors import InputError


@pytest.mark.parametrize("feed", ["frames", "latents"])
def test_the_second_chunk_starts_from_the_first(pipeline, video, feed):
    out = pipeline.rollout(video, chunks=3, feed=feed, num_inference_steps=2)
    assert out.frames.shape == (2, 27, 3, 32, 48)
    start = {"video": video}
    for chunk in out.frames.split(9, dim=1):
        result = pipeline(**start, num_inference_steps=2)
        assert torch.equal(chunk, result.frames)
        start = {"video": result.frames} if feed == "frames" else {"latents": result.latents}


def test_the_two_feeds_part_after_the_first_chunk(ltx, video):
    frames, latents = (ltx.rollout(video, 2, feed=feed).frames for feed in ("frames", "latents"))
    assert torch.equal(frames[:, :9], latents[:, :9])
    assert not torch.equal(frames[:, 9:], latents[:, 9:])


def test_one_chunk_is_a_prediction(pipeline, video):
    assert torch.equal(pipeline.rollout(video, 1).frames, pipeline(video).frames)


def test_costs_add_up(ltx, video):
    evaluations = ltx.rollout(video, chunks=2, num_inference_steps=5).evaluations
    assert (evaluations.guided_evals, evaluations.forward_calls, evaluations.forward_batch) == (10, 10, 2)
    assert evaluations.guidance_skipped


def test_latents_of_each_chunk_decode_to_its_frames(ltx, video):
    out = ltx.rollout(video, chunks=2, feed="latents")
    for latents, frames in zip(out.latents.chunk(2, dim=2), out.frames.chunk(2, dim=1), strict=True):
        with torch.no_grad():
            decoded = (ltx.backbone.decode(latents).transpose(1, 2) / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(decoded, frames, rtol=0, atol=1e-5)


def test_latent_rollout_never_decodes(ltx, video):
    decode, ltx.vae.decode = ltx.vae.decode, None
    try:
        out = ltx.rollout(video, chunks=2, feed="latents", output_type="latent")
    finally:
        ltx.vae.decode = decode
    assert torch.equal(out.frames, ltx.rollout(video, chunks=2, feed="latents").latents)


@pytest.mark.parametrize("output_type", ["np", "pil"])
def test_output_types_hold_all_chunks(ltx, video, output_type):
    frames = ltx.rollout(video, chunks=2, output_type=output_type).frames
    assert len(frames) == 2 and len(frames[0]) == 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunks": 0}, "chunks=0"),
        ({"chunks": 2, "feed": "pixels"}, "feed='pixels': use frames or latents"),
        ({"chunks": 2, "num_frames": 18}, "num_frames=18"),
    ],
)
def test_bad_rollouts_are_refused(ltx, video, options, message):
    with pytest.raises(InputError, match=message):
        ltx.rollout(video, **options)
