"""LTXVCondition: the published numbers through the official file, and the whole flow.

Shape legend: see `worldmodel.benchmarks.methods.ltxv_condition`.
"""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.benchmarks.methods.ltxv_condition import LTXVCondition, LTXVConditionOptions, load_ltxv_condition
from worldmodel.benchmarks.methods.method import GivenNoise, SeededNoise
from worldmodel.errors import InputError

TOLERANCE = 1e-4
SMALL: dict[str, Any] = {"weights": "random", "sizes": "tiny", "size": (32, 64), "steps": 3, "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def official_file(golden, tmp_path: Path):
    """Writes a golden case as an official file, golden prompts beside it; gives (case, tensors, options, save)."""

    def write(case):
        transformer, vae = (golden(case.spec[part].split()[0])[0] for part in ("transformer", "vae"))
        tensors = transformer.weights() | vae.weights()
        for theirs, stored in (("mean-of-means", "mean_of_means"), ("std-of-means", "std_of_means")):
            tensors[f"vae.per_channel_statistics.{theirs}"] = case.tensors[stored]
        config = json.dumps({"transformer": transformer.config, "vae": vae.config})
        for name in ("prompt", "negative"):
            save_file({"embeds": case.tensors[f"{name}_embeds"]}, tmp_path / f"{name}.safetensors")

        def save(tensors: dict[str, Tensor]) -> None:
            save_file(tensors, tmp_path / "ltx.safetensors", metadata={"config": config})

        save(tensors)
        return case, tensors, options_of(case, tmp_path), save

    return write


@pytest.fixture
def official(official_file, golden):
    """The first golden case as an official file."""
    return official_file(golden("ltx_condition")[0])


def options_of(case, folder: Path) -> dict[str, Any]:
    spec = case.spec
    return {
        "weights": str(folder / "ltx.safetensors"),
        "size": (spec["height"], spec["width"]),
        "observed_frames": spec["given_frames"],
        "steps": spec["steps"],
        "guidance": spec["cfg"],
        "frame_rate": float(spec["frame_rate"]),
        "image_cond_noise_scale": spec["image_cond_noise_scale"],
        "posterior": spec["posterior"],
        "prompt": str(folder / "prompt.safetensors"),
        "negative_prompt": str(folder / "negative.safetensors"),
        "device": "cpu",
    }


def opened(options: dict[str, Any]) -> LTXVCondition:
    return load_ltxv_condition(LTXVConditionOptions(**options))


def observed_frames(case) -> Tensor:
    return case.tensors["frames_uint8"].permute(0, 3, 1, 2)[None] / 127.5 - 1


def golden_noise(case) -> dict[str, list[Tensor]]:
    noise_BCfhw = case.tensors["noise"]
    packed_BNC = noise_BCfhw.flatten(2).transpose(1, 2)
    return {"latents": [noise_BCfhw], "condition": case.spec["steps"] * [packed_BNC], "decode": [noise_BCfhw]}


def clips(number: int) -> Tensor:
    return torch.rand(number, 17, 3, 32, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_whole_prediction_is_the_published_one(official_file, golden) -> None:
    for case in golden("ltx_condition"):
        check_whole_prediction(*official_file(case))


def check_whole_prediction(case, tensors, options, save) -> None:
    method = opened(options)
    ours = method.predict_latents(observed_frames(case), GivenNoise(golden_noise(case)))
    theirs = case.tensors["out_latents"]
    difference = float((ours - theirs).abs().max())
    print(f"\n{case.name}: max abs difference {difference:.2e} (largest value {float(theirs.abs().max()):.2f})")
    assert ours.shape == theirs.shape
    assert difference < TOLERANCE
    assert method.canvas_frames == case.spec["canvas_frames"]
    assert method.evaluations.guided_evals == case.spec["steps"]
    assert method.evaluations.forward_batch == 2
    assert method.evaluations.guidance_skipped is None


@torch.no_grad()
def test_the_joint_canvas_is_decoded_and_then_cropped(official) -> None:
    case, _, options, _ = official
    method = opened(options | {"decode_noise_scale": 0.025})
    future = method.run(observed_frames(case), GivenNoise(golden_noise(case)))
    vae = method.networks["vae"]
    latents = case.tensors["out_latents"]
    raw = latents * case.tensors["std_of_means"].view(1, -1, 1, 1, 1) + case.tensors["mean_of_means"].view(
        1, -1, 1, 1, 1
    )
    canvas = vae.decode(0.975 * raw + 0.025 * case.tensors["noise"], torch.tensor([0.05])).sample
    expected = canvas[:, :, 17:34].transpose(1, 2).clamp(-1, 1)
    assert canvas.shape[2] == 41
    assert float((future - expected).abs().max()) < TOLERANCE
    new_alone = vae.decode(raw[:, :, 3:], torch.tensor([0.05])).sample
    assert new_alone.shape[2] == 17
    assert float((future - new_alone.transpose(1, 2).clamp(-1, 1)).abs().max()) > 0.01


def test_whole_flow() -> None:
    method = opened(SMALL)
    observed = clips(2)
    together = method.run(observed, SeededNoise([5, 6]))
    alone = method.run(observed[1:], SeededNoise([6]))
    other = method.run(observed[1:], SeededNoise([7]))
    assert together.shape == observed.shape
    assert float((together[1:] - alone).abs().max()) < TOLERANCE
    assert not torch.equal(alone, other)
    assert -1 <= float(together.min()) < float(together.max()) <= 1
    assert method.evaluations.guidance_skipped == "no prompt"
    assert method.evaluations.forward_batch == 1


def test_the_papers_row() -> None:
    method = opened({"weights": "random", "sizes": "tiny", "device": "cpu"})
    spec = method.spec
    assert (spec.size, spec.observed_frames, spec.future_frames) == ((256, 256), 17, 17)
    assert (spec.nfe, spec.steps, spec.guidance, spec.frame_rate) == (40, 40, 3.5, 12.0)
    assert "41 frames in 6 latents, the first 3 given; decoded as one, frames 17-33 kept" in spec.canvas
    assert any("guidance is not computed" in remark for remark in spec.remarks)


def test_forty_evaluations() -> None:
    method = opened(SMALL | {"steps": 40})
    method.run(clips(1), SeededNoise([0]))
    assert method.evaluations.guided_evals == method.evaluations.forward_calls == method.spec.nfe == 40


def test_evaluations_are_forward_calls_of_the_transformer(official) -> None:
    case, _, options, _ = official
    method = opened(options | {"steps": 2})
    shapes = []
    method.networks["transformer"].register_forward_hook(lambda module, given, out: shapes.append(out[0].shape[:2]))
    method.predict_latents(observed_frames(case), GivenNoise(golden_noise(case)))
    assert shapes == [(2, 36)] * 2
    assert (method.evaluations.forward_calls, method.evaluations.forward_batch) == (2, 2)


@pytest.mark.parametrize(
    "change", [{"posterior": "mean"}, {"image_cond_noise_scale": 0.0}, {"frame_rate": 24.0}, {"steps": 4}]
)
def test_each_option_changes_the_prediction(change: dict[str, Any]) -> None:
    as_it_is, changed = (opened(options).run(clips(1), SeededNoise([0])) for options in (SMALL, SMALL | change))
    assert not torch.equal(as_it_is, changed)


def test_the_given_latents_stay() -> None:
    method = opened(SMALL | {"posterior": "mean", "image_cond_noise_scale": 0.0})
    latents = method.predict_latents(clips(1), SeededNoise([0]))
    given = method.backbone.encode(clips(1).transpose(1, 2)).mean_BCfhw
    assert float((latents[:, :, :3] - given).abs().max()) < 1e-5


def test_a_prediction_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("diffusers").addHandler(caplog.handler)
    opened(SMALL).run(clips(1), SeededNoise([0]))
    logging.getLogger("diffusers").removeHandler(caplog.handler)
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_bfloat16_is_near_float32(official) -> None:
    case, _, options, _ = official
    exact, rough = (
        opened(options | {"dtype": dtype}).predict_latents(observed_frames(case), GivenNoise(golden_noise(case)))
        for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert 0 < float((exact - rough).std()) < 0.05 * float(exact.std())


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["model.diffusion_model.transformer_blocks.1.attn2.to_k.bias"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["vae.encoder.extra.weight"] = torch.zeros(1)


def reshape(tensors: dict[str, Tensor]) -> None:
    tensors["model.diffusion_model.proj_out.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop, r"key model\.diffusion_model\.transformer_blocks\.1\.attn2\.to_k\.bias is missing"),
        (add, r"key vae\.encoder\.extra\.weight is not part"),
        (reshape, r"key model\.diffusion_model\.proj_out\.bias has shape \[3\]"),
    ],
)
def test_a_damaged_file_is_named(damage, says: str, official) -> None:
    _, tensors, options, save = official
    damage(tensors)
    save(tensors)
    with pytest.raises(InputError, match=says):
        opened(options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors: no such file; download ltx-video-2b-v0.9.5"),
        ({"observed_frames": 18}, "18 frames: this backbone needs 8k.1; use 17 or 25"),
        ({"size": (40, 64)}, "height 40"),
        ({"prompt": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
    ],
)
def test_options_that_cannot_be_used_say_why(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        opened(SMALL | change)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"embed": torch.zeros(1, 9, 40)}, "has no tensor embeds"),
        ({"embeds": torch.zeros(1, 9, 32)}, r"embeds is \[1, 9, 32\]; this network takes \[1, L, 40\]"),
        ({"embeds": torch.zeros(1, 9, 40), "mask": torch.zeros(1, 8)}, r"mask is \[1, 8\]; give \[1, 9\]"),
        ({"embeds": torch.ones(1, 8, 40)}, "the same number of tokens"),
    ],
)
def test_a_prompt_that_does_not_fit_says_why(tensors: dict, says: str, official, tmp_path: Path) -> None:
    _, _, options, _ = official
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=says):
        opened(options | {"prompt": str(tmp_path / "other.safetensors")})


def test_masked_prompt_tokens_change_nothing(official, tmp_path: Path) -> None:
    case, _, options, _ = official
    embeds, mask = case.tensors["prompt_embeds"], torch.ones(1, 9)
    mask[:, 5:] = 0
    predicted = []
    for tail in (0.0, 7.0):
        changed = embeds.clone()
        changed[:, 5:] += tail
        save_file({"embeds": changed, "mask": mask}, tmp_path / "masked.safetensors")
        method = opened(options | {"prompt": str(tmp_path / "masked.safetensors"), "steps": 1})
        predicted.append(method.predict_latents(observed_frames(case), GivenNoise(golden_noise(case))))
    assert torch.equal(*predicted)
