"""Our key maps against diffusers' own converters, at the published sizes (no memory is used: device "meta")."""

from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel
from diffusers.loaders import single_file_utils as diffusers_keys

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones import official_keys as keys

NOWHERE = Path("nowhere")


def ltx_transformer():
    return LTXVideoTransformer3DModel(**configs.ltx_transformer_arguments(configs.LTX_2B_095["transformer"], NOWHERE))


def ltx_vae():
    return AutoencoderKLLTXVideo(**configs.ltx_vae_arguments(configs.LTX_2B_095["vae"], NOWHERE))


def wan_transformer():
    return WanTransformer3DModel(**configs.wan_transformer_arguments(configs.WAN_21_13B["transformer"], NOWHERE))


def wan_vae():
    return AutoencoderKLWan(**configs.wan_vae_arguments(configs.WAN_21_13B["vae"], NOWHERE))


@pytest.mark.parametrize(
    ("build", "prefix", "key", "convert"),
    [
        (
            ltx_transformer,
            keys.LTX_TRANSFORMER_PREFIX,
            keys.ltx_transformer_key,
            diffusers_keys.convert_ltx_transformer_checkpoint_to_diffusers,
        ),
        (
            ltx_vae,
            keys.LTX_VAE_PREFIX,
            partial(keys.ltx_vae_key, encoder_blocks=4),
            diffusers_keys.convert_ltx_vae_checkpoint_to_diffusers,
        ),
        (wan_transformer, "", keys.wan_transformer_key, diffusers_keys.convert_wan_transformer_to_diffusers),
        (wan_vae, "", partial(keys.wan_vae_key, res_blocks=2), diffusers_keys.convert_wan_vae_to_diffusers),
    ],
)
def test_diffusers_converts_our_official_names_back(build, prefix: str, key, convert) -> None:
    with torch.device("meta"):
        state = build().state_dict()
    official = {prefix + key(name): value for name, value in state.items()}
    assert len(official) == len(state)
    renamed = sum(prefix + name not in official for name in state)
    assert renamed > len(state) / 10
    identity = {id(value): name for name, value in state.items()}
    converted = {name: identity[id(value)] for name, value in convert(dict(official)).items()}
    assert converted == {name: name for name in state}


def test_published_sizes() -> None:
    with torch.device("meta"):
        sizes = {
            build.__name__: sum(weight.numel() for weight in build().parameters()) / 1e6
            for build in (ltx_transformer, ltx_vae, wan_transformer, wan_vae)
        }
        config = ltx_vae().config
    assert (config.block_out_channels, config.layers_per_block) == ((128, 256, 512, 1024, 2048), (4, 6, 6, 2, 2))
    assert config.downsample_type == ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    assert (config.decoder_block_out_channels, config.decoder_layers_per_block) == ((256, 512, 1024), (5, 5, 5, 5))
    assert (config.spatial_compression_ratio, config.temporal_compression_ratio) == (32, 8)
    assert sizes["ltx_transformer"] == pytest.approx(1923, abs=2)
    assert sizes["wan_transformer"] == pytest.approx(1419, abs=2)
    assert sizes["wan_vae"] == pytest.approx(127, abs=1)
