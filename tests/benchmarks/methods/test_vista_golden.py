"""Vista's networks and sampler from files in the published layout: what the published code computes comes out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_numbers import Golden
from safetensors.torch import load_file, save_file
from torch import Tensor
from vista_files import CLIP, open_clip_visual, write_config, write_vista

from worldmodel.benchmarks.methods import vista_configs as configs
from worldmodel.benchmarks.methods import vista_vae
from worldmodel.benchmarks.methods.method import GivenNoise
from worldmodel.benchmarks.methods.vista import Vista, VistaOptions, load_vista
from worldmodel.benchmarks.methods.vista_conditioning import VistaCondition
from worldmodel.benchmarks.methods.vista_weights import VistaWeights, load_image_encoder, load_unet, load_vae
from worldmodel.errors import InputError
from worldmodel.flow.solvers import Evaluations

TOLERANCE = 1e-4

FindGolden = Callable[[str], list[Golden]]


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1
    return float((ours - theirs).abs().max())


@pytest.fixture(scope="module")
def vista_file(golden: FindGolden, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole published file with the golden networks, and the JSON with their sizes."""
    unet, vae = golden("vista_unet")[0], golden("vista_vae")[0]
    folder = tmp_path_factory.mktemp("vista")
    return write_vista(unet, vae, folder), write_config(unet, vae, folder)


def tiny_vista(vista_file: tuple[Path, Path], **options: object) -> Vista:
    weights, config = map(str, vista_file)
    return load_vista(VistaOptions(weights=weights, config=config, size=(64, 64), device="cpu", **options))


@torch.no_grad()
def test_unet(golden: FindGolden, tmp_path: Path) -> None:
    for case in golden("vista_unet"):
        path = tmp_path / f"{case.name}.safetensors"
        save_file(case.weights(), path)
        unet = load_unet(VistaWeights(path), case.config)
        known, numbers = case.tensors, torch.tensor([[9.0, 127.0, 0.0]]).expand(case.spec["batch"], 3)
        clips = {name: value.unflatten(0, (case.spec["batch"], -1)) for name, value in known.items()}
        free, action = clips["context"], torch.cat([clips["context"], clips["actions"]], dim=-1)
        given3, none = clips["given_mask"], torch.zeros_like(clips["given_mask"])
        for context, mask, name in (
            (free, none, "free_none"), (free, given3, "free_given3"),
            (action, none, "action_none"), (action, given3, "action_given3"),
        ):  # fmt: skip
            out = unet(clips["sample"], clips["c_noise"], context, numbers, mask)
            assert difference(out.flatten(0, 1), known[f"out_{name}"]) < TOLERANCE, name
        zero = torch.cat([free, torch.zeros_like(clips["actions"])], dim=-1)
        assert torch.equal(
            unet(clips["sample"], clips["c_noise"], zero, numbers, mask),
            unet(clips["sample"], clips["c_noise"], free, numbers, mask),
        )


@torch.no_grad()
def test_vae(golden: FindGolden, tmp_path: Path) -> None:
    for case in golden("vista_vae"):
        path = tmp_path / f"{case.name}.safetensors"
        save_file(case.weights(), path)
        vae, known = load_vae(VistaWeights(path), case.config), case.tensors
        assert difference(vae.encode(known["frames"]).latent_dist.parameters, known["moments"]) < TOLERANCE
        decoded = vista_vae.decode(vae, 0.18215 * known["latents"][None])[0]
        assert difference(decoded, known["decoded"]) < TOLERANCE
        mean, log_variance = known["moments"].chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
        latents = vista_vae.encode(vae, known["frames"][None], noise[None])[0]
        assert difference(latents, 0.18215 * (mean + (0.5 * log_variance).exp() * noise)) < TOLERANCE


@torch.no_grad()
def test_sampler_of_the_whole_file(golden: FindGolden, vista_file: tuple[Path, Path]) -> None:
    for case in golden("vista_sampler"):
        vista = tiny_vista(vista_file, steps=case.spec["steps"], guidance=case.spec["cfg"])
        known = case.tensors
        vista.evaluations = Evaluations()
        condition = VistaCondition(known["clip_context"], known["concat_latent"])
        given = known["given_latents"][None, : case.spec["given"]]
        out = vista._round(given, condition, GivenNoise({"latents": [known["noise"][None]]}))[0]
        assert difference(out, known["out"]) < TOLERANCE
        assert vista.evaluations == Evaluations(case.spec["steps"], case.spec["steps"], 2)


@torch.no_grad()
def test_image_encoder_is_open_clip(golden: FindGolden, vista_file: tuple[Path, Path]) -> None:
    width = golden("vista_unet")[0].config["context_dim"]
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    encoder = tiny_vista(vista_file).networks["image_encoder"]
    assert difference(encoder(pixels).image_embeds, open_clip_visual(width)(pixels)) < 1e-5


@torch.no_grad()
def test_reference_encoder_has_weights_of_its_own(golden: FindGolden, vista_file: tuple[Path, Path]) -> None:
    known = golden("vista_vae")[0].tensors
    encoder = tiny_vista(vista_file).networks["reference_encoder"]
    assert difference(encoder(known["frames"]), 2 * known["moments"].chunk(2, dim=1)[0] + 1) < TOLERANCE


PARTS = {
    "unet": "model.diffusion_model.output_blocks.5.2.conv.weight",
    "actions": "model.diffusion_model.middle_block.1.time_stack.0.attn2.v_adapter_action_control.weight",
    "vae": "first_stage_model.decoder.mid.attn_1.q.weight",
    "clip": f"{CLIP}visual.transformer.resblocks.1.attn.in_proj_weight",
    "reference": "conditioner.embedders.3.encoder.quant_conv.bias",
}


@pytest.mark.parametrize("wrong", ["missing", "misshapen"])
@pytest.mark.parametrize("key", PARTS.values(), ids=PARTS)
def test_a_missing_or_misshapen_key_is_named(vista_file: tuple[Path, Path], tmp_path: Path, key: str, wrong) -> None:
    weights = load_file(vista_file[0])
    value = weights.pop(key)
    if wrong == "misshapen":
        weights[key] = torch.cat([value] * 2)
    save_file(weights, tmp_path / "vista.safetensors")
    with pytest.raises(InputError) as error:
        tiny_vista((tmp_path / "vista.safetensors", vista_file[1]))
    assert key in str(error.value)
    assert ("is missing" if wrong == "missing" else "has shape") in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.lora.weight",
        "first_stage_model.quant_conv.weight",
        f"{CLIP}visual.attnpool.weight",
        "conditioner.embedders.3.encoder.bottleneck.weight",
        "model_ema.decay",
        "conditioner.embedders.0.open_clip.model.transformer.weight",
    ],
)
def test_an_extra_key_is_named(vista_file: tuple[Path, Path], tmp_path: Path, key: str) -> None:
    save_file(load_file(vista_file[0]) | {key: torch.zeros(1)}, tmp_path / "vista.safetensors")
    with pytest.raises(InputError, match="not part of this model") as error:
        tiny_vista((tmp_path / "vista.safetensors", vista_file[1]))
    assert key in str(error.value)


def test_the_published_sizes_are_refused_to_another_file(vista_file: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="has shape"):
        load_image_encoder(VistaWeights(vista_file[0]), configs.REAL["clip"] | {"layers": 2})
    with pytest.raises(InputError, match="time_embed.0.weight has shape|conv_in|input_blocks.0.0"):
        load_vista(VistaOptions(weights=str(vista_file[0]), device="cpu"))


def test_a_folder_is_enough_and_half_precision_is_kept(vista_file: tuple[Path, Path]) -> None:
    options = {"weights": str(vista_file[0].parent), "config": str(vista_file[1]), "size": (64, 64), "device": "cpu"}
    vista = load_vista(VistaOptions(**options, dtype="bfloat16"))
    dtypes = {name: {value.dtype for value in module.parameters()} for name, module in vista.networks.items()}
    half, full = {torch.bfloat16}, {torch.float32}
    assert dtypes == {"unet": half, "vae": full, "reference_encoder": full, "image_encoder": half}
