"""The graphs of each family in torch against the pipeline's own encoding, guided velocity and decoding."""

from functools import cache

import pytest
import torch
from export_models import CHUNK, FAMILIES, baked, relative, small_backbone, some_latents, some_prompt, some_video

from worldmodel.backbones.backbone import Backbone
from worldmodel.errors import InputError
from worldmodel.export.graphs.families import graphs_of
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.export.graphs.wan_vae_stream import streamed
from worldmodel.flow.guidance import GuidedVelocity, Prompt
from worldmodel.pixels import to_uint8

backbone_of = cache(small_backbone)


def decoded(backbone: Backbone, latents: torch.Tensor) -> torch.Tensor:
    """uint8 [B, F, H, W, 3] as the pipeline gives them."""
    return to_uint8(backbone.decode(latents).float().div(2).add(0.5)).permute(0, 2, 3, 4, 1)


def for_clips(prompt: Prompt) -> Prompt:
    mask = None if prompt.mask_BL is None else prompt.mask_BL.expand(CHUNK.cameras, -1)
    return Prompt(prompt.embeds_BLD.expand(CHUNK.cameras, -1, -1), mask)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_encoder_is_the_posterior_mean_of_the_frames(family: str) -> None:
    backbone, video = backbone_of(family), some_video()
    expected = backbone.encode(video.permute(0, 4, 1, 2, 3).float() / 127.5 - 1).mean_BCfhw
    found = graphs_of(backbone, CHUNK, baked(backbone, family))["encoder"].make()(video)
    assert found.dtype == torch.float32
    # LTX's patches are the same bit for bit, but lie elsewhere in memory, and convolutions add up in another order.
    assert relative(found, expected) <= (1e-5 if family == "wan" else 1e-6)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_decoder_gives_the_frames_of_the_pipeline(family: str) -> None:
    backbone, latents = backbone_of(family), some_latents(backbone_of(family))
    found = graphs_of(backbone, CHUNK, baked(backbone, family))["decoder"].make()(latents)
    expected = decoded(backbone, latents)
    assert found.dtype == torch.uint8 and found.shape == some_video().shape
    # Where a value lies between two levels, the last bit of a float decides.
    assert (found.int() - expected.int()).abs().max() <= 1 and (found != expected).float().mean() < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("family", ["ltx", "wan"])
@pytest.mark.parametrize("kind", ["empty", "prompt", "guided", "negative"])
def test_step_is_the_guided_velocity(family: str, kind: str) -> None:
    backbone, latents, sigma = backbone_of(family), some_latents(backbone_of(family)), torch.tensor([0.73])
    empty = Prompt(*backbone.empty_prompt())
    prompt = None if kind == "empty" else some_prompt(backbone)
    negative = some_prompt(backbone, tokens=7, masked=3, seed=1) if kind == "negative" else None
    scale = 1.0 if kind == "prompt" else 3.5
    prompts = BakedPrompts.of(empty, prompt, negative, scale)
    velocity = GuidedVelocity(
        lambda x, sigma_B, text: backbone.velocity(x, sigma_B, text.embeds_BLD, text.mask_BL, CHUNK.frame_rate),
        for_clips(prompt or empty),
        None if prompt is None else for_clips(negative or empty),
        scale,
    )
    expected = velocity(latents, sigma.expand(CHUNK.cameras))
    found = graphs_of(backbone, CHUNK, prompts)["step"].make()(latents, sigma)
    assert prompts.guidance_skipped == velocity.guidance_skipped
    assert relative(found, expected) <= (1e-5 if velocity.guidance_skipped is None else 2e-6)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_stays_as_it_was(family: str) -> None:
    backbone = small_backbone(family)
    latents, before = some_latents(backbone), {}
    for part in (backbone.vae, backbone.transformer):
        before |= {name: (type(module), id(module)) for name, module in part.named_modules()}
    frames = decoded(backbone, latents)
    for graph in graphs_of(backbone, CHUNK, baked(backbone, family)).values():
        graph.make()
    after = {}
    for part in (backbone.vae, backbone.transformer):
        after |= {name: (type(module), id(module)) for name, module in part.named_modules()}
    assert after == before and torch.equal(decoded(backbone, latents), frames)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 17])
def test_wan_streams_the_same_frames_bit_for_bit(frames: int) -> None:
    chunk = Chunk(frames, 32, 48, cameras=2)
    backbone = backbone_of("wan")
    latents = some_latents(backbone, chunk)
    graphs = graphs_of(backbone, chunk, baked(backbone, "wan"), stream=True)
    first, following = graphs["decoder_first"].make(), graphs["decoder_next"].make()
    assert torch.equal(streamed(first, following, latents), decoded(backbone, latents))


@torch.no_grad()
def test_wan_caches_are_named_and_of_the_shapes_that_are_traced() -> None:
    backbone = backbone_of("wan")
    graphs = graphs_of(backbone, CHUNK, baked(backbone, "wan"), stream=True)
    first, following = graphs["decoder_first"].make(), graphs["decoder_next"].make()
    outputs, examples = first(*graphs["decoder_first"].examples(first)), graphs["decoder_next"].examples(following)
    assert [cache.shape for cache in examples[1]] == [cache.shape for cache in outputs[1:]]
    assert first.output_names[1:] == following.input_names[1:] and len(outputs) == len(first.output_names)
    assert len(set(following.output_names) | set(following.input_names)) == 2 * len(outputs)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_wan_whole_sequence_is_the_loop(frames: int) -> None:
    backbone, chunk = backbone_of("wan"), Chunk(frames, 32, 48)
    video, latents = some_video(chunk), some_latents(backbone, chunk)
    graphs = graphs_of(backbone, chunk, baked(backbone, "wan"))
    expected = backbone.encode(video.permute(0, 4, 1, 2, 3).float() / 127.5 - 1).mean_BCfhw
    assert relative(graphs["encoder"].make()(video), expected) <= 1e-5
    decoder = graphs["decoder"].make()
    found, own = decoder.network(decoder.raw(latents)), backbone.decode(latents)
    assert relative(found, own) <= 1e-5 and (found - own).abs().max() <= 1e-5


def test_what_has_no_graph_is_refused() -> None:
    ltx, wan = backbone_of("ltx"), backbone_of("wan")
    with pytest.raises(InputError, match="it is for Wan"):
        graphs_of(ltx, CHUNK, baked(ltx, "ltx"), stream=True)
    dynamic = Chunk(9, 32, 48, dynamic=True)
    with pytest.raises(InputError, match="graphs of one size"):
        graphs_of(wan, dynamic, baked(wan, "wan"), stream=True)
    with pytest.raises(InputError, match="noise of one size"):
        graphs_of(ltx, dynamic, baked(ltx, "ltx"))["decoder"].make()
    with pytest.raises(InputError, match="needs 4k"):
        graphs_of(wan, Chunk(8, 32, 48), baked(wan, "wan"))
