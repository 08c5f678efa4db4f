"""Our key maps against diffusers' own converters, at the published sizes (no memory is used: device "meta")."""

import pytest
import torch
from diffusers.loaders import single_file_utils as diffusers_keys

from worldmodel.backbones.ltx import official as ltx
from worldmodel.backbones.official import OfficialPart
from worldmodel.backbones.wan import official as wan


@pytest.mark.parametrize(
    ("part", "convert"),
    [
        (ltx.TRANSFORMER, diffusers_keys.convert_ltx_transformer_checkpoint_to_diffusers),
        (ltx.VAE, diffusers_keys.convert_ltx_vae_checkpoint_to_diffusers),
        (wan.TRANSFORMER, diffusers_keys.convert_wan_transformer_to_diffusers),
        (wan.VAE, diffusers_keys.convert_wan_vae_to_diffusers),
    ],
)
def test_diffusers_converts_our_official_names_back(part: OfficialPart, convert) -> None:
    with torch.device("meta"):
        module = part.as_published()
    state, key = module.state_dict(), part.file_key(module)
    official = {part.prefix + key(name): value for name, value in state.items()}
    assert len(official) == len(state)
    renamed = sum(part.prefix + name not in official for name in state)
    assert renamed > len(state) / 10
    identity = {id(value): name for name, value in state.items()}
    converted = {name: identity[id(value)] for name, value in convert(dict(official)).items()}
    assert converted == {name: name for name in state}


def test_published_sizes() -> None:
    with torch.device("meta"):
        millions = {
            part.cls.__name__: sum(weight.numel() for weight in part.as_published().parameters()) / 1e6
            for part in (ltx.TRANSFORMER, wan.TRANSFORMER, wan.VAE)
        }
        config = ltx.VAE.as_published().config
    assert (config.block_out_channels, config.layers_per_block) == ((128, 256, 512, 1024, 2048), (4, 6, 6, 2, 2))
    assert config.downsample_type == ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    assert (config.decoder_block_out_channels, config.decoder_layers_per_block) == ((256, 512, 1024), (5, 5, 5, 5))
    assert (config.spatial_compression_ratio, config.temporal_compression_ratio) == (32, 8)
    assert millions["LTXVideoTransformer3DModel"] == pytest.approx(1923, abs=2)
    assert millions["WanTransformer3DModel"] == pytest.approx(1419, abs=2)
    assert millions["AutoencoderKLWan"] == pytest.approx(127, abs=1)
