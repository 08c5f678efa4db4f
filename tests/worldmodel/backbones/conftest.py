"""Backbone tests: golden numbers as official files, and tiny modules written in the official layout."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor, nn

from worldmodel.backbones.ltx import keys as ltx_keys
from worldmodel.backbones.tiny import tiny_transformer, tiny_vae
from worldmodel.backbones.wan import keys as wan_keys

TINY_LTX_CONFIG = {
    "transformer": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 8,
        "out_channels": 8,
        "num_layers": 2,
        "cross_attention_dim": 24,
        "caption_channels": 10,
        "causal_temporal_positioning": True,
        "qk_norm": "rms_norm",
        "positional_embedding_max_pos": [20, 2048, 2048],
    },
    "vae": {
        "latent_channels": 8,
        "encoder_blocks": [
            *2 * [["res_x", {"num_layers": 1}], ["compress_all_res", {"multiplier": 2}]],
            ["res_x", {"num_layers": 1}],
        ],
        "decoder_blocks": [
            *2 * [["res_x", {"num_layers": 1}], ["compress_all", {"residual": True, "multiplier": 2}]],
            ["res_x", {"num_layers": 1}],
        ],
        "encoder_base_channels": 8,
        "decoder_base_channels": 8,
        "patch_size": 4,
        "latent_log_var": "uniform",
        "timestep_conditioning": True,
    },
}
TINY_WAN_CONFIG = {
    "transformer": {
        "model_type": "t2v",
        "dim": 256,
        "ffn_dim": 64,
        "num_heads": 2,
        "num_layers": 2,
        "in_dim": 16,
        "out_dim": 16,
        "freq_dim": 32,
        "text_dim": 24,
    },
    "vae": {"dim": 4, "z_dim": 16},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def ltx_config() -> dict[str, Any]:
    return json.loads(json.dumps(TINY_LTX_CONFIG))


@pytest.fixture
def wan_config() -> dict[str, Any]:
    return json.loads(json.dumps(TINY_WAN_CONFIG))


@pytest.fixture
def ltx_modules() -> tuple[nn.Module, nn.Module]:
    """VAE and transformer of `TINY_LTX_CONFIG`."""
    vae = tiny_vae(8, latent_channels=8, spatial=16, temporal=4, timestep_conditioning=True)
    vae.latents_mean.normal_()
    vae.latents_std.uniform_(0.5, 2.0)
    return vae.eval(), tiny_transformer(8, layers=2, heads=2, head_dim=12, caption_channels=10).eval()


@pytest.fixture
def wan_modules() -> tuple[nn.Module, nn.Module]:
    """VAE and transformer of `TINY_WAN_CONFIG`."""
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=128,
        ffn_dim=64,
        num_layers=2,
        freq_dim=32,
        text_dim=24,
    )
    return AutoencoderKLWan(base_dim=4).eval(), transformer.eval()


@pytest.fixture
def ltx_tensors(ltx_modules: tuple[nn.Module, nn.Module]) -> dict[str, Tensor]:
    """The tiny LTX modules under official names, with the statistics that no one reads."""
    vae, transformer = ltx_modules
    key = partial(ltx_keys.vae_key, encoder_blocks=2)
    tensors = {ltx_keys.VAE_PREFIX + key(name): value.clone() for name, value in vae.state_dict().items()}
    tensors |= {ltx_keys.VAE_PREFIX + name: torch.arange(8.0) for name in ltx_keys.VAE_UNUSED}
    transformer_state = transformer.state_dict().items()
    return tensors | {
        ltx_keys.TRANSFORMER_PREFIX + ltx_keys.transformer_key(name): value.clone() for name, value in transformer_state
    }


@pytest.fixture
def wan_folder(wan_modules: tuple[nn.Module, nn.Module], wan_config: dict[str, Any], tmp_path: Path) -> Path:
    """The tiny Wan modules as the official folder."""
    vae, transformer = wan_modules
    state = {wan_keys.transformer_key(name): value.clone() for name, value in transformer.state_dict().items()}
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    key = partial(wan_keys.vae_key, res_blocks=2)
    torch.save({key(name): value for name, value in vae.state_dict().items()}, tmp_path / "Wan2.1_VAE.pth")
    (tmp_path / "config.json").write_text(json.dumps(wan_config["transformer"]))
    return tmp_path


@pytest.fixture
def write_ltx(tmp_path: Path, ltx_config: dict[str, Any]) -> Callable[..., Path]:
    """Write an official LTX file; its metadata hold the tiny config unless another (or None) is given."""

    def write(tensors: dict[str, Tensor], config: dict[str, Any] | None = ltx_config) -> Path:
        path = tmp_path / "ltx.safetensors"
        save_file(tensors, path, metadata=None if config is None else {"config": json.dumps(config)})
        return path

    return write
