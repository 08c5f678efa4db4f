"""Prompts: embedded ones, texts through real tiny text encoders, the cached empty one, and guidance by them."""

import json

import pytest
import torch
from diffusers import LTXPipeline, WanPipeline
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from worldmodel.checkpoints import shipped
from worldmodel.errors import InputError
from worldmodel.flow.solvers import Evaluations
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.prompts import PromptCache

WIDTH = 16  # of the tiny transformers' prompts


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", "<unk>", "a", "car", "turns", "left", "rain"]
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    words_tokenizer = Tokenizer(model)
    words_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words_tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="module")
def text_encoders() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 8, "d_model": WIDTH, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return {"ltx": T5EncoderModel(T5Config(**sizes)).eval(), "wan": UMT5EncoderModel(UMT5Config(**sizes)).eval()}


@pytest.fixture(params=["ltx", "wan"])
def reading(request, text_encoders, tokenizer) -> FlowFramesPipeline:
    """A pipeline that can read text."""
    plain = request.getfixturevalue(request.param)
    pipeline = FlowFramesPipeline.from_backbone(
        plain.backbone, text_encoder=text_encoders[request.param], tokenizer=tokenizer
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def embeds(seed: int, rows: int = 1, tokens: int = 4, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(rows, tokens, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["ltx", "wan"])
def test_embedded_prompts_steer_and_are_guided(name, video, request):
    pipeline = request.getfixturevalue(name)
    options = {"prompt_embeds": embeds(1), "negative_prompt_embeds": embeds(2), "output_type": "latent"}
    plain = pipeline(video, output_type="latent")
    positive, negative = (pipeline(video, prompt_embeds=embeds(seed), guidance_scale=1.0).latents for seed in (1, 2))
    guided = pipeline(video, guidance_scale=3.0, **options)
    assert guided.evaluations == Evaluations(5, 5, 4, None)
    assert not torch.equal(guided.latents, plain.latents) and not torch.equal(guided.latents, positive)
    one_step = pipeline(video, num_inference_steps=1, guidance_scale=3.0, **options).latents
    ends = [
        pipeline(video, num_inference_steps=1, prompt_embeds=embeds(seed), guidance_scale=1.0).latents
        for seed in (1, 2)
    ]
    torch.testing.assert_close(one_step, ends[1] + 3.0 * (ends[0] - ends[1]), rtol=0, atol=1e-4)
    assert not torch.equal(positive, negative)


def test_guidance_that_changes_nothing_is_skipped_and_said(ltx, video):
    def skipped(**options) -> str | None:
        evaluations = ltx(video, num_inference_steps=1, output_type="latent", **options).evaluations
        assert evaluations.forward_batch == (2 if evaluations.guidance_skipped else 4)
        return evaluations.guidance_skipped

    assert skipped(guidance_scale=3.5) == "no prompt"
    assert skipped(guidance_scale=1.0, prompt_embeds=embeds(1)) == "guidance scale is 1"
    same = {"prompt_embeds": embeds(1), "negative_prompt_embeds": embeds(1).expand(2, -1, -1)}
    assert skipped(guidance_scale=3.5, **same) == "prompt and negative prompt are equal"
    # the negative prompt is the empty one, which has one token: two calls of two rows
    evaluations = ltx(video, prompt_embeds=embeds(1), guidance_scale=3.5).evaluations
    assert evaluations == Evaluations(5, 10, 2, None)


def test_the_backbones_own_guidance_is_the_default(wan, video):
    negative = {"negative_prompt_embeds": embeds(2)}
    by_default = wan(video, prompt_embeds=embeds(1), **negative).latents
    assert torch.equal(by_default, wan(video, prompt_embeds=embeds(1), guidance_scale=5.0, **negative).latents)
    assert not torch.equal(by_default, wan(video, prompt_embeds=embeds(1), guidance_scale=1.0, **negative).latents)


def test_masked_tokens_do_not_count(ltx, video):
    mask = torch.tensor([[1.0, 1, 0, 0]])
    changed = embeds(1).clone()
    changed[:, 2:] = 7.0
    latents = [ltx(video, prompt_embeds=one, prompt_mask=mask).latents for one in (embeds(1), changed)]
    torch.testing.assert_close(*latents, rtol=0, atol=1e-6)
    assert not torch.allclose(latents[0], ltx(video, prompt_embeds=changed).latents, atol=1e-6)


def test_each_video_may_have_its_own_prompt(ltx, video):
    both = ltx(video, prompt_embeds=torch.cat([embeds(1), embeds(2)])).latents
    for row, seed in enumerate((1, 2)):
        one = ltx(video[row : row + 1], prompt_embeds=embeds(seed)).latents
        torch.testing.assert_close(both[row : row + 1], one, rtol=0, atol=1e-5)


def test_texts_steer(reading, video):
    empty = reading(video, output_type="latent")
    left = reading(video, prompt="a car turns left", guidance_scale=1.0, output_type="latent")
    rain = reading(video, prompt=["a car turns left", "rain"], guidance_scale=1.0, output_type="latent")
    assert not torch.equal(empty.latents, left.latents)
    torch.testing.assert_close(left.latents[0], rain.latents[0], rtol=0, atol=1e-5)
    assert not torch.allclose(left.latents[1], rain.latents[1], atol=1e-6)
    guided = reading(video, prompt="a car", negative_prompt="rain", guidance_scale=2.0)
    assert guided.evaluations == Evaluations(5, 5, 4, None)


def test_the_empty_text_is_no_guidance(reading, video):
    out = reading(video, prompt="", guidance_scale=3.0)
    assert out.evaluations.guidance_skipped == "prompt and negative prompt are equal"
    assert torch.equal(out.latents, reading(video).latents)


def test_the_cached_empty_prompt_serves_without_the_text_encoder(reading, video, tmp_path):
    expected = reading(video)
    reading.save_pretrained(tmp_path / "with encoder")
    bare = FlowFramesPipeline.from_pretrained(tmp_path / "with encoder", text_encoder=None, tokenizer=None)
    bare.set_progress_bar_config(disable=True)
    assert bare.text_encoder is None
    assert torch.equal(bare(video).frames, expected.frames)
    bare.save_pretrained(tmp_path / "bare")
    again = FlowFramesPipeline.from_pretrained(tmp_path / "bare")
    assert torch.equal(again.prompt_cache.embeds, reading.prompt_cache.embeds)
    assert not (tmp_path / "bare" / "text_encoder").exists()
    # The name by which pipelines of every version know the component; the shipped ones open by it too.
    listed = json.loads((tmp_path / "bare" / "model_index.json").read_text())["prompt_cache"]
    assert listed == ["worldmodel.prompts", "PromptCache"]
    assert listed == json.loads((shipped("tiny") / "model_index.json").read_text())["prompt_cache"]


def test_a_text_encoder_without_cache_gives_the_same_empty_prompt(reading, video):
    bare = FlowFramesPipeline(
        reading.vae, reading.transformer, reading.scheduler, reading.text_encoder, reading.tokenizer, text_length=8
    )
    bare.set_progress_bar_config(disable=True)
    expected = bare(video).latents
    bare.cache_empty_prompt()
    assert torch.equal(bare(video).latents, expected)
    assert torch.equal(bare.prompt_cache.embeds, reading.prompt_cache.embeds)


def test_a_folder_of_the_pretrained_pipeline_opens(reading, video, tmp_path):
    parts = {name: getattr(reading, name) for name in ("vae", "transformer", "scheduler", "text_encoder", "tokenizer")}
    kind = LTXPipeline if reading.backbone.name == "tiny" else WanPipeline
    kind(**parts).save_pretrained(tmp_path)
    opened = FlowFramesPipeline.from_pretrained(tmp_path, text_length=8)
    opened.set_progress_bar_config(disable=True)
    assert torch.equal(opened(video).frames, reading(video).frames)
    assert opened.backbone.name == kind.__name__[:3].lower()


def test_prompt_cache_keeps_what_it_was_given(tmp_path):
    mask = torch.tensor([[1, 1, 0, 0]])
    PromptCache.of(embeds(1), mask).save_pretrained(tmp_path / "masked")
    loaded = PromptCache.from_pretrained(tmp_path / "masked")
    assert torch.equal(loaded.embeds, embeds(1)) and torch.equal(loaded.mask, mask.float())
    PromptCache.of(embeds(1), None).save_pretrained(tmp_path / "plain")
    assert PromptCache.from_pretrained(tmp_path / "plain", dtype=torch.bfloat16).mask is None
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "rain"}, "prompt: no text encoder is loaded; give prompt_embeds"),
        ({"negative_prompt": ["", "rain"]}, "negative_prompt: no text encoder is loaded; give negative_prompt_embeds"),
        ({"prompt": "rain", "prompt_embeds": embeds(1)}, "prompt and prompt_embeds: give at most one"),
        ({"prompt_embeds": embeds(1, width=8)}, "prompt_embeds of width 8: this transformer takes 16"),
        ({"prompt_embeds": embeds(1, rows=3)}, "prompt_embeds has 3 rows for 2 videos: give 1 or 2"),
        ({"prompt_embeds": embeds(1)[0]}, r"prompt_embeds of shape \[4, 16\]: give \[rows, tokens, 16\]"),
        ({"prompt_embeds": embeds(1), "prompt_mask": torch.ones(1, 3)}, r"shape \[1, 3\]: give \[1, 4\]"),
        ({"negative_prompt_embeds": embeds(1, width=8)}, "negative_prompt_embeds of width 8"),
    ],
)
def test_bad_prompts_are_refused_with_a_remedy(ltx, video, options, message):
    with pytest.raises(InputError, match=message):
        ltx(video, **options)


def test_wan_refuses_a_prompt_that_is_too_long(wan, video):
    with pytest.raises(InputError, match="prompt of 9 tokens: Wan takes 8"):
        wan(video, prompt_embeds=embeds(1, tokens=9))


def test_caching_needs_a_text_encoder(ltx):
    with pytest.raises(InputError, match="cache_empty_prompt: load text_encoder and tokenizer"):
        ltx.cache_empty_prompt()
