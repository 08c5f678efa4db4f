"""CausVid and its successors: the published numbers through official files, blocks in order, what every mode costs.

Shape legend: see `worldmodel.benchmarks.methods.causal_wan`.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from worldmodel.benchmarks.methods.causal_prediction import CausalPrediction
from worldmodel.benchmarks.methods.causal_recipes import (
    CAUSVID,
    SELF_FORCING,
    CausalForcingOptions,
    CausVidOptions,
    SelfForcingOptions,
    load_causal_forcing,
    load_causvid,
    load_self_forcing,
)
from worldmodel.benchmarks.methods.causal_wan import CausalWan, FewSteps, OffsetRope
from worldmodel.benchmarks.methods.method import GivenNoise, SeededNoise
from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt

TOLERANCE = 1e-4
LOADERS = {"causvid": (load_causvid, CausVidOptions), "self_forcing": (load_self_forcing, SelfForcingOptions)}
ALL = LOADERS | {"causal_forcing": (load_causal_forcing, CausalForcingOptions)}
RECIPES = {"causvid": CAUSVID, "self_forcing": SELF_FORCING}
SMALL = {"weights": "random", "sizes": "tiny", "size": (32, 48), "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def official(golden, tmp_path: Path):
    """Writes a golden case's weights as the official file, beside Wan's VAE; gives (case, table, options, save)."""

    def write(name: str, number: int = 0):
        case, vae_case = golden(name)[number], golden("wan_vae")[0]
        layout = case.spec["official_layout"]
        entry = next(entry for entry in ("generator_ema", "generator") if f"'{entry}'" in layout)
        table = {f"model.{key}": value for key, value in case.weights().items()}
        torch.save(vae_case.weights(), tmp_path / "Wan2.1_VAE.pth")
        config = {"transformer": case.config | {"model_type": "t2v"}, "vae": vae_case.config}
        (tmp_path / "config.json").write_text(json.dumps(config))
        h, w = case.tensors["noise"].shape[-2:]
        options = {
            "weights": str(tmp_path / "model.pt"),
            "vae": str(tmp_path / "Wan2.1_VAE.pth"),
            "config": str(tmp_path / "config.json"),
            "size": (8 * h, 8 * w),
            "block": case.spec["block"],
            "device": "cpu",
        }
        other = {key: torch.zeros_like(value) for key, value in table.items()}
        others = {"critic": other, "generator_ema" if entry == "generator" else "generator": other}

        def save(table: dict[str, Tensor]) -> None:
            torch.save(others | {entry: table}, tmp_path / "model.pt")

        save(table)
        return case, table, options, save

    return write


def open_official(name: str, options: dict) -> CausalPrediction:
    load, options_class = ALL[name]
    return load(options_class(**options))


def channels_first(latents: Tensor) -> Tensor:
    """From the published axes [B, f, C, h, w]."""
    return latents.transpose(1, 2)


@pytest.mark.parametrize("name", LOADERS)
def test_whole_prediction_is_the_published_one(name: str, official, golden) -> None:
    for number in range(len(golden(name))):
        check_whole_prediction(name, *official(name, number))


def check_whole_prediction(name: str, case, table, options, save) -> None:
    method = open_official(name, options)
    given = case.tensors
    method.prompt = Prompt(given["context"])
    fresh = [channels_first(noise) for noise in given["fresh_noise"]]
    noise = GivenNoise({"latents": [channels_first(given["noise"])], "renoise": fresh})
    ours = method.predict_latents(channels_first(given["observed_latents"]), noise)
    theirs = channels_first(given["out_latents"])
    difference = float((ours - theirs).abs().max())
    print(f"\n{case.name}: max abs difference {difference:.2e} (largest value {float(theirs.abs().max()):.2f})")
    assert ours.shape == theirs.shape
    assert difference < TOLERANCE
    assert method.evaluations.guided_evals == method.spec.nfe == case.spec["nfe"]
    with pytest.raises(ValueError, match="no noise 'renoise' is left"):
        noise.normal("renoise", fresh[0].shape)


@pytest.mark.parametrize("name", LOADERS)
def test_steps_are_those_of_the_published_configuration(name: str, golden) -> None:
    for case in golden(name):
        listed, shift, warp = (case.spec[key] for key in ("step_list", "shift", "warp"))
        assert RECIPES[name].steps == FewSteps(tuple(listed), shift, warp)


def test_causal_forcing_is_self_forcing_on_other_weights(official) -> None:
    """Its file holds the network that its inference reads under `generator`; steps and blocks are Self-Forcing's."""
    case, table, options, _ = official("self_forcing")
    zeros = {key: torch.zeros_like(value) for key, value in table.items()}
    torch.save({"generator": table, "generator_ema": zeros}, options["weights"])
    method = open_official("causal_forcing", options)
    assert method.recipe.steps == SELF_FORCING.steps and method.spec.nfe == case.spec["nfe"]
    method.prompt, given = Prompt(case.tensors["context"]), case.tensors
    fresh = [channels_first(noise) for noise in given["fresh_noise"]]
    noise = GivenNoise({"latents": [channels_first(given["noise"])], "renoise": fresh})
    ours = method.predict_latents(channels_first(given["observed_latents"]), noise)
    assert float((ours - channels_first(given["out_latents"])).abs().max()) < TOLERANCE
    assert "Not in the paper's tables" in method.spec.remarks[0] and "Inferred" in method.spec.remarks[1]
    with pytest.raises(InputError, match="download chunkwise/causal_forcing.pt from huggingface.co/zhuhz22"):
        open_official("causal_forcing", options | {"weights": "nowhere.pt"})


def test_self_forcing_walks_the_shifted_schedule() -> None:
    walked = SELF_FORCING.steps.timesteps_and_sigmas()
    assert [round(timestep, 2) for timestep, _ in walked] == [1000.0, 937.5, 833.33, 625.0]
    assert all(abs(timestep / 1000 - sigma) < 1e-6 for timestep, sigma in walked)


def test_causvid_takes_the_nearest_sigma_of_its_schedule() -> None:
    walked = CAUSVID.steps.timesteps_and_sigmas()
    u = torch.arange(1, 1001, dtype=torch.float64) / 1000
    sigmas = 8 * u / (1 + 7 * u)
    assert [timestep for timestep, _ in walked] == [1000.0, 757.0, 522.0]
    for timestep, sigma in walked:
        assert abs(sigma - timestep / 1000) == pytest.approx(float((sigmas - timestep / 1000).abs().min()), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "block", "nfe", "canvas"),
    [
        ("causvid", 5, 5, "37 frames in 10 latents, blocks of 5: 5 given (the last 17 observed frames), 5 new"),
        ("causvid", 3, 9, "33 frames in 9 latents, blocks of 3: 3 given (the last 9 observed frames), 6 new"),
        ("self_forcing", 5, 6, "frames 17-33 kept"),
        ("self_forcing", 3, 11, "frames 9-25 kept"),
        ("causal_forcing", 3, 11, "frames 9-25 kept"),
    ],
)
def test_whole_flow_of_every_mode(name: str, block: int, nfe: int, canvas: str) -> None:
    method = open_official(name, SMALL | {"block": block})
    observed = torch.rand(2, 17, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = method.run(observed, SeededNoise([5, 6]))
    alone = method.run(observed[1:], SeededNoise([6]))
    other = method.run(observed[1:], SeededNoise([7]))
    assert together.shape == observed.shape
    assert float((together[1:] - alone).abs().max()) < TOLERANCE
    assert not torch.equal(alone, other)
    assert -1 <= float(together.min()) < float(together.max()) <= 1
    assert method.spec.nfe == method.evaluations.guided_evals == method.evaluations.forward_calls == nfe
    assert canvas in method.spec.canvas
    unused = observed.clone()
    unused[:, : 17 - method.given_frames] = 0
    assert torch.equal(method.run(unused, SeededNoise([5, 6])), together)


def test_evaluations_are_forward_calls_of_the_transformer() -> None:
    method = open_official("causvid", SMALL | {"block": 3})
    shapes = []
    method.networks["transformer"].register_forward_hook(lambda module, given, out: shapes.append(out[0].shape))
    method.run(torch.zeros(1, 17, 3, 32, 48), SeededNoise([0]))
    assert shapes == [(1, 16, 3, 4, 6)] * 9


@torch.no_grad()
def test_the_last_block_sees_what_the_unmodified_transformer_sees() -> None:
    causal, plain = (open_official("causvid", SMALL) for _ in range(2))
    transformer = plain.networks["transformer"]
    block = torch.randn(1, 16, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    text = Prompt(torch.randn(1, 512, 24, generator=torch.Generator().manual_seed(1)))
    with causal.causal.sequence(4, 4, 6, text):
        ours = causal.causal.velocity(block, 700.0, 0)
    for layer in transformer.blocks:
        layer.attn1.set_processor(type(layer.attn2.processor)())
    transformer.rope = transformer.rope.rope
    theirs = transformer(block, torch.tensor([700.0]), text.embeds_BLD, return_dict=False)[0]
    assert float((ours - theirs).abs().max()) < 1e-5


@torch.no_grad()
def test_a_block_sees_all_blocks_before_it_and_none_after() -> None:
    causal = open_official("causvid", SMALL).causal
    text = Prompt(torch.zeros(1, 1, 24))
    one, two, three = torch.randn(3, 1, 16, 2, 4, 6, generator=torch.Generator().manual_seed(0))

    def second(first: Tensor, then: Tensor | None) -> Tensor:
        with causal.sequence(6, 4, 6, text):
            causal.velocity(first, 0.0, 0)
            causal.velocity(three, 900.0, 2)  # written over by the next call
            if then is not None:
                causal.velocity(then, 0.0, 4)
            return causal.velocity(two, 500.0, 2)

    assert torch.equal(second(one, None), second(one, three))
    assert not torch.allclose(second(one, None), second(three, None), atol=1e-4)


def test_positions_of_a_later_block_are_those_of_the_whole_sequence() -> None:
    rope = open_official("causvid", SMALL).networks["transformer"].rope
    assert isinstance(rope, OffsetRope)
    whole = rope.rope(torch.zeros(1, 16, 7, 4, 6))
    rope.first_frame = 4
    for part, of_all in zip(rope(torch.zeros(2, 16, 3, 4, 6)), whole, strict=True):
        assert torch.equal(part, of_all[:, -3 * 2 * 3 :])


def test_the_cache_is_freed() -> None:
    causal: CausalWan = open_official("causvid", SMALL).causal
    with pytest.raises(RuntimeError, match="stop"), causal.sequence(2, 4, 6, Prompt(torch.zeros(1, 1, 24))):
        causal.velocity(torch.zeros(1, 16, 2, 4, 6), 0.0, 0)
        assert all(attention._keys_BMHD.shape[1] == 2 * 2 * 3 for attention in causal._attentions)
        raise RuntimeError("stop")
    assert all(attention._keys_BMHD is None for attention in causal._attentions)


def test_bfloat16_is_near_float32(official) -> None:
    case, _, options, _ = official("self_forcing")
    given = channels_first(case.tensors["observed_latents"])
    exact, rough = (
        open_official("self_forcing", options | {"dtype": dtype}).predict_latents(given, SeededNoise([0]))
        for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert 0 < float((exact - rough).std()) < 0.05 * float(exact.std())


def drop(table: dict[str, Tensor]) -> None:
    del table["model.blocks.1.ffn.2.bias"]


def add(table: dict[str, Tensor]) -> None:
    table["model.blocks.0.self_attn.extra"] = torch.zeros(1)


def stray(table: dict[str, Tensor]) -> None:
    table["scheduler.sigmas"] = torch.zeros(1)


def reshape(table: dict[str, Tensor]) -> None:
    table["model.head.head.weight"] = table["model.head.head.weight"][:-1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop, r"model\.pt: key model\.blocks\.1\.ffn\.2\.bias is missing"),
        (add, r"model\.pt: key model\.blocks\.0\.self_attn\.extra is not part"),
        (stray, r"model\.pt: key scheduler\.sigmas is not under 'model\.'"),
        (reshape, r"model\.pt: key model\.head\.head\.weight has shape \[63, 256\]"),
    ],
)
@pytest.mark.parametrize("name", LOADERS)
def test_a_damaged_file_is_named(name: str, damage, says: str, official) -> None:
    _, table, options, save = official(name)
    damage(table)
    save(table)
    with pytest.raises(InputError, match=says):
        open_official(name, options)


def test_marks_of_fsdp_are_read_over(official) -> None:
    _, table, options, save = official("self_forcing")
    loaded = open_official("self_forcing", options).networks["transformer"].state_dict()
    plain = {key: value.clone() for key, value in loaded.items()}  # the file itself is read lazily
    save({key.replace("model.", "model._fsdp_wrapped_module."): value for key, value in table.items()})
    wrapped = open_official("self_forcing", options).networks["transformer"].state_dict()
    assert all(torch.equal(plain[key], wrapped[key]) for key in plain)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": "nowhere/model.pt"}, "nowhere/model.pt: no such file; download .*huggingface.co/tianweiy/CausVid"),
        ({"vae": "nowhere.pth"}, "nowhere.pth: no such file; download Wan2.1_VAE.pth"),
        ({"block": 6}, "block=6: 17 observed frames are 5 latents; use a block from 1 to 5"),
        ({"size": (72, 96)}, "height 72"),
        ({"config": None}, "give the configuration that"),
    ],
)
def test_options_that_cannot_be_used_say_why(change: dict, says: str, official) -> None:
    _, _, options, _ = official("causvid")
    with pytest.raises(InputError, match=says):
        open_official("causvid", options | change)


def test_a_file_without_the_network_is_named(tmp_path: Path, official) -> None:
    _, table, options, _ = official("causvid")
    torch.save({"critic": table}, options["weights"])
    with pytest.raises(InputError, match="holds no table of tensors 'generator'"):
        open_official("causvid", options)
