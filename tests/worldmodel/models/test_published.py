"""`conventions=published` against what FlowC2S's own code computed: LTX and Wan, from pictures to frames."""

import json
from pathlib import Path

import pytest
import torch
from golden_numbers import Golden
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.conventions import PUBLISHED
from worldmodel.errors import InputError
from worldmodel.flow.solvers import set_sigmas
from worldmodel.models.open import open_backbone
from worldmodel.models.pipeline import FlowFramesPipeline

LATENTS = {"ltx": 1e-5, "wan": 1e-4}


def part(case: Golden, folder: Path, name: str) -> Golden:
    """The network that the case names first."""
    return Golden(folder / f"{case.spec[name].split()[0]}.json")


def ltx_files(case: Golden, golden_folder: Path, where: Path) -> Path:
    """The official single file of the case's networks."""
    transformer, vae = part(case, golden_folder, "transformer"), part(case, golden_folder, "vae")
    weights = transformer.weights() | vae.weights()
    for official, stored in (("mean-of-means", "mean_of_means"), ("std-of-means", "std_of_means")):
        weights[f"vae.per_channel_statistics.{official}"] = case.tensors[stored]
    config = {"transformer": transformer.config, "vae": vae.config}
    save_file(weights, where / "ltx.safetensors", metadata={"config": json.dumps(config)})
    return where / "ltx.safetensors"


def wan_files(case: Golden, golden_folder: Path, where: Path) -> Path:
    """The official folder of the case's networks."""
    transformer, vae = part(case, golden_folder, "transformer"), part(case, golden_folder, "vae")
    save_file(transformer.weights(), where / "diffusion_pytorch_model.safetensors")
    save_file(vae.weights(), where / "vae.safetensors")
    return where


def opened(case: Golden, golden_folder: Path, where: Path) -> FlowFramesPipeline:
    if not case.name.startswith("flowc2s_wan"):
        backbone = open_backbone(ltx_files(case, golden_folder, where), conventions=PUBLISHED)
    else:
        config = {name: part(case, golden_folder, name).config for name in ("transformer", "vae")}
        source, length = wan_files(case, golden_folder, where), config["transformer"]["text_len"]
        backbone = open_backbone(
            source, config=config, vae=where / "vae.safetensors", text_length=length, conventions=PUBLISHED
        )
    pipeline = FlowFramesPipeline.from_backbone(backbone)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def prompts(case: Golden) -> dict[str, Tensor]:
    names = {"prompt_embeds": "prompt_embeds", "negative_prompt_embeds": "negative_embeds",
             "prompt_mask": "prompt_mask", "negative_prompt_mask": "negative_mask"}  # fmt: skip
    return {ours: case.tensors[theirs] for ours, theirs in names.items() if theirs in case.tensors}


def frames_of(numbers: Tensor) -> Tensor:
    return numbers.movedim(-1, -3)[None]


@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_published_numbers(golden, golden_folder: Path, tmp_path: Path, family: str) -> None:
    cases = [case for case in golden("flowc2s") if "evaluations" in case.spec]
    cases = [case for case in cases if case.name.startswith("flowc2s_wan") == (family == "wan")]
    if not cases:
        pytest.skip(f"no golden numbers of flowc2s for {family}")
    for case in cases:
        pipeline, given = opened(case, golden_folder, tmp_path), case.tensors
        told = {"guidance_scale": case.spec["cfg"], "frame_rate": 12.0} | prompts(case)
        for steps in case.spec["evaluations"]:
            sigmas = set_sigmas(pipeline.scheduler, steps, first_sigma=pipeline.backbone.first_sigma)
            assert sigmas == pytest.approx(given[f"sigmas_{steps}"].tolist(), abs=1e-7)
            assert torch.equal(pipeline.scheduler.timesteps.float(), given[f"timesteps_{steps}"])
            out = pipeline(latents=given["source_latents"], num_inference_steps=steps, output_type="latent", **told)
            error = (out.latents - given[f"out_latents_{steps}"]).abs().max()
            print(f"\n{case.name}, {steps} evaluations: latents differ by {error:.1e}")
            assert error < LATENTS[family]
            assert out.evaluations.guidance_skipped is None
        for name in (name for name in given if name.startswith("out_latents_41_")):
            steps = int(name.rpartition("_")[2])
            out = pipeline(latents=given["source_latents_41"], num_inference_steps=steps, output_type="latent", **told)
            assert (out.latents - given[name]).abs().max() < LATENTS[family]


@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_published_frames_from_frames(golden, golden_folder: Path, tmp_path: Path, family: str) -> None:
    for case in golden("flowc2s_wan" if family == "wan" else "flowc2s"):
        if "decoded_with" not in case.spec or case.name.startswith("flowc2s_wan") != (family == "wan"):
            continue
        pipeline, given = opened(case, golden_folder, tmp_path), case.tensors
        steps = case.spec["decoded_with"]
        source = {"video": frames_of(given["observed_uint8"])}
        if "posterior_noise" in given:  # their sample is not seeded
            posterior = pipeline.backbone.encode(source["video"].transpose(1, 2) / 127.5 - 1)
            sample = posterior.mean_BCfhw + posterior.std_BCfhw * given["posterior_noise"]
            assert (sample - given["source_latents"]).abs().max() < 1e-4
            source = {"latents": sample}
        out = pipeline(**source, num_inference_steps=steps, guidance_scale=case.spec["cfg"], **prompts(case))
        theirs = frames_of(given["saved_generated_uint8"])
        levels = (out.frames.mul(255).round() - theirs.float()).abs().max()
        print(f"\n{case.name}: frames to frames differ by {levels:.0f} levels of 255")
        assert levels <= 1
        decoded = pipeline.backbone.decode(given[f"out_latents_{steps}"])[:, :, [0, 8, 16]]
        assert (decoded - given["decoded_frames_0_8_16"].reshape(decoded.shape)).abs().max() < 1e-4


def test_a_pipeline_keeps_its_conventions_and_another_name_overrides_them(noisy_ltx, tmp_path: Path) -> None:
    noisy_ltx.save_pretrained(tmp_path / "paper")
    changed = FlowFramesPipeline.from_pretrained(tmp_path / "paper", conventions="published")
    backbone = changed.backbone
    assert (backbone.decode_timestep, backbone.decode_noise_scale) == (0.0, 0.0)
    assert changed.network_rate(12.0) == 25.0 and backbone.conventions is PUBLISHED
    changed.save_pretrained(tmp_path / "published")
    kept = FlowFramesPipeline.from_pretrained(tmp_path / "published")
    assert kept.conventions is PUBLISHED and kept.backbone.decode_timestep == 0.0
    one = FlowFramesPipeline.from_pretrained(tmp_path / "paper", conventions="published", decode_timestep=0.1)
    assert (one.backbone.decode_timestep, one.backbone.decode_noise_scale) == (0.1, 0.0)
    assert FlowFramesPipeline.from_pretrained(tmp_path / "paper", conventions=None).conventions.name == "paper"
    with pytest.raises(InputError, match="conventions=code: use paper or published"):
        FlowFramesPipeline.from_pretrained(tmp_path / "paper", conventions="code")


def test_the_published_network_is_told_25_frames_a_second_whatever_the_clip(ltx, video, tmp_path: Path) -> None:
    ltx.save_pretrained(tmp_path)
    published = FlowFramesPipeline.from_pretrained(tmp_path, conventions="published")
    published.set_progress_bar_config(disable=True)
    assert torch.equal(published(video, frame_rate=12.0).latents, published(video, frame_rate=30.0).latents)
    forced = FlowFramesPipeline.from_pretrained(tmp_path, conventions="published", fixed_rate=12.0)
    forced.set_progress_bar_config(disable=True)
    assert not torch.equal(forced(video).latents, published(video).latents)


def test_wan_starts_from_a_seeded_sample(wan, video, tmp_path: Path) -> None:
    wan.save_pretrained(tmp_path)
    published = FlowFramesPipeline.from_pretrained(tmp_path, conventions="published")
    published.set_progress_bar_config(disable=True)
    latents = [
        published(
            video, guidance_scale=1.0, generator=torch.Generator().manual_seed(seed), output_type="latent"
        ).latents
        for seed in (1, 1, 2)
    ]
    assert torch.equal(latents[0], latents[1]) and not torch.equal(latents[0], latents[2])


def test_guidance_without_any_text_is_refused_with_its_remedies(wan, video, tmp_path: Path) -> None:
    wan.save_pretrained(tmp_path)
    published = FlowFramesPipeline.from_pretrained(tmp_path, conventions="published")
    published.set_progress_bar_config(disable=True)
    with pytest.raises(InputError, match="conventions=published guides away from a negative prompt.*guidance 1"):
        published(video)
    out = published(video, negative_prompt_embeds=torch.ones(1, 3, 16))
    assert out.evaluations.guidance_skipped is None
    published.register_modules(negative_prompt_cache=cache_of(torch.ones(1, 3, 16)))
    assert torch.equal(published(video).latents, out.latents)
    published.save_pretrained(tmp_path / "with")
    again = FlowFramesPipeline.from_pretrained(tmp_path / "with")
    again.set_progress_bar_config(disable=True)
    assert torch.equal(again(video).latents, out.latents)


def cache_of(embeds: Tensor):
    from worldmodel.models.prompts import PromptCache

    return PromptCache.of(embeds, None)
