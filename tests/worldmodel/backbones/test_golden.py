"""Golden numbers of the published code, reached through the official files and the public loaders."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from worldmodel.backbones.ltx import official as ltx_official
from worldmodel.backbones.ltx.positions import frame_coords, video_coords
from worldmodel.backbones.wan import official as wan_official
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.models.open import open_backbone

TOLERANCE = 1e-4


def difference(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> float:
    """Largest absolute difference, printed (`pytest -s`)."""
    assert ours.shape == theirs.shape
    value = float((ours - theirs).abs().max())
    print(f"\n{what}: max abs difference {value:.2e} (largest value {float(theirs.abs().max()):.2f})")
    return value


def ltx_vae_file(case, tmp_path: Path, config: dict) -> dict[str, torch.Tensor]:
    weights = case.weights()
    for ours, theirs in (("mean-of-means", "mean_of_means"), ("std-of-means", "std_of_means")):
        weights[f"vae.per_channel_statistics.{ours}"] = case.tensors[theirs]
    save_file(weights, tmp_path / "ltx_vae.safetensors", metadata={"config": json.dumps(config)})
    return weights


@torch.no_grad()
def test_ltx_transformer(golden, tmp_path: Path) -> None:
    for case in golden("ltx_transformer"):
        path = tmp_path / f"{case.name}.safetensors"
        save_file(case.weights(), path, metadata={"config": json.dumps({"transformer": case.config})})
        transformer = ltx_official.load_transformer(path)
        given = case.tensors
        out = transformer(
            hidden_states=given["tokens"],
            encoder_hidden_states=given["context"],
            timestep=1000 * given["sigma_per_token"],
            encoder_attention_mask=given["context_mask"],
            video_coords=given["video_coords"],
            return_dict=False,
        )[0]
        assert difference(out, given["out"], case.name) < TOLERANCE
        assert out.std() > 0.1


def test_ltx_positions_are_those_of_the_published_code(golden) -> None:
    for case in golden("ltx_transformer"):
        coords_3N = case.tensors["video_coords"][0]
        sizes = tuple(len(axis.unique()) for axis in coords_3N)
        seconds = coords_3N[0].unique()
        frame_rate = 1.0 / float(seconds[1])  # latent 1 starts at frame 1
        ours = video_coords(frame_coords(sizes, 8, 32, 0, torch.device("cpu")), frame_rate)[0]
        assert difference(ours, coords_3N, f"{case.name} video_coords") < 1e-6


@torch.no_grad()
def test_ltx_vae(golden, tmp_path: Path) -> None:
    for case in golden("ltx_vae"):
        ltx_vae_file(case, tmp_path, {"vae": case.config})
        vae = ltx_official.load_vae(tmp_path / "ltx_vae.safetensors")
        given = case.tensors
        posterior = vae.encode(given["frames"]).latent_dist
        decoded = vae.decode(given["mean"], torch.tensor([case.spec["decode_timestep"]])).sample
        assert difference(posterior.mean, given["mean"], f"{case.name} mean") < TOLERANCE
        assert difference(posterior.std, given["std"], f"{case.name} std") < TOLERANCE
        assert difference(decoded, given["decoded"], f"{case.name} decoded") < TOLERANCE


@torch.no_grad()
def test_ltx_single_file_gives_a_backbone_with_the_golden_numbers(golden, tmp_path: Path) -> None:
    transformer_case, vae_case = golden("ltx_transformer")[0], golden("ltx_vae")[0]
    config = {"transformer": transformer_case.config, "vae": vae_case.config}
    weights = ltx_vae_file(vae_case, tmp_path, config) | transformer_case.weights()
    path = tmp_path / "ltx-video-2b-v0.9.5.safetensors"
    save_file(weights, path, metadata={"config": json.dumps(config)})

    timestep = vae_case.spec["decode_timestep"]
    backbone = open_backbone(path, decode_timestep=timestep, decode_noise_scale=0.0)
    given = vae_case.tensors
    shift, scale = (given[name].view(1, -1, 1, 1, 1) for name in ("mean_of_means", "std_of_means"))
    posterior = backbone.encode(given["frames"])
    assert difference(posterior.mean_BCfhw, (given["mean"] - shift) / scale, "normalised mean") < TOLERANCE
    assert difference(posterior.std_BCfhw, given["std"] / scale, "normalised std") < TOLERANCE
    decoded = backbone.decode((given["mean"] - shift) / scale)
    assert difference(decoded, given["decoded"], "decode of normalised latents") < TOLERANCE
    assert backbone.geometry.latent_shape(*given["frames"].shape[2:]) == tuple(given["mean"].shape[1:])


@torch.no_grad()
def test_wan_transformer(golden, tmp_path: Path, wan_modules) -> None:
    for case in golden("wan_transformer"):
        path = tmp_path / f"{case.name}.safetensors"
        save_file(case.weights(), path)
        transformer = wan_official.load_transformer(path, {"transformer": case.config})
        backbone = WanBackbone(wan_modules[0], transformer, text_length=case.config["text_len"])
        given = case.tensors
        out = backbone.velocity(given["latents"], given["timestep"] / 1000.0, given["context"])
        assert difference(out, given["out"], case.name) < TOLERANCE
        assert out.std() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_wan_vae(golden, tmp_path: Path, suffix: str, wan_modules) -> None:
    for case in golden("wan_vae"):
        path = tmp_path / f"{case.name}{suffix}"
        torch.save(case.weights(), path) if suffix == ".pth" else save_file(case.weights(), path)
        vae = wan_official.load_vae(path, {"vae": case.config})
        backbone = WanBackbone(vae, wan_modules[1])
        given = case.tensors
        mean = backbone.encode(given["frames"]).mean_BCfhw
        assert difference(mean, given["normalised_latents"], f"{case.name} mean") < TOLERANCE
        decoded = backbone.decode(given["normalised_latents"])
        assert difference(decoded, given["decoded"].clamp(-1, 1), f"{case.name} decoded, clamped") < TOLERANCE
        assert difference(unclamped(vae, given), given["decoded"], f"{case.name} decoded") < TOLERANCE


def unclamped(vae, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """The decoder latent by latent, without the clamp that ends diffusers' and upstream's `decode`."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    hidden = vae.post_quant_conv(given["normalised_latents"] * std + mean)
    vae.clear_cache()
    parts = [
        vae.decoder(hidden[:, :, i : i + 1], feat_cache=vae._feat_map, feat_idx=[0], first_chunk=i == 0)
        for i in range(hidden.shape[2])
    ]
    vae.clear_cache()
    return torch.cat(parts, dim=2)
