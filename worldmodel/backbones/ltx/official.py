"""LTX-Video's official file: one .safetensors with the transformer and the VAE (0.9.5 layout) under a prefix each."""

from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

from worldmodel.backbones.ltx import configs, keys
from worldmodel.backbones.official import GivenConfig, OfficialFiles, OfficialPart
from worldmodel.backbones.weights import Weights
from worldmodel.errors import InputError

TRANSFORMER = OfficialPart(
    name="transformer",
    cls=LTXVideoTransformer3DModel,
    arguments=configs.transformer_arguments,
    file_key=lambda _: keys.transformer_key,
    published=configs.LTX_2B_095["transformer"],
    size_key="patchify_proj.weight",
    size=(2048, 128),
    prefix=keys.TRANSFORMER_PREFIX,
)
VAE = OfficialPart(
    name="vae",
    cls=AutoencoderKLLTXVideo,
    arguments=configs.vae_arguments,
    file_key=lambda vae: partial(keys.vae_key, encoder_blocks=len(vae.config.down_block_types)),
    published=configs.LTX_2B_095["vae"],
    size_key="encoder.conv_out.conv.weight",
    size=(129, 2048, 3, 3, 3),
    prefix=keys.VAE_PREFIX,
    unused=keys.VAE_UNUSED,
)


def load_transformer(
    path: Path,
    config: GivenConfig = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> LTXVideoTransformer3DModel:
    """The transformer in an official file (keys under `model.diffusion_model.`); see `OfficialPart.load`."""
    return TRANSFORMER.load(_weights(path), config, dtype, device)


def load_vae(
    path: Path,
    config: GivenConfig = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> AutoencoderKLLTXVideo:
    """The VAE in an official file (keys under `vae.`); see `OfficialPart.load`.

    A constant log-variance, which upstream puts in place of the encoder's last channel, is written into that
    channel's weights, so that the diffusers class returns the same std.
    """
    weights = _weights(path)
    vae = VAE.load(weights, config, dtype, device)
    if configs.has_constant_log_variance(VAE.config_of(weights, config)):
        with torch.no_grad():
            vae.encoder.conv_out.conv.weight[-1].zero_()
            vae.encoder.conv_out.conv.bias[-1] = -30.0
    return vae


def _weights(path: Path) -> Weights:
    """An official file, none of whose keys lies outside its two modules."""
    weights = Weights(path)
    for name in weights.names:
        if not name.startswith((TRANSFORMER.prefix, VAE.prefix)):
            raise InputError(
                f"{path}: key {name} is not part of LTX-Video (prefixes {TRANSFORMER.prefix} and {VAE.prefix}); use "
                "the official file"
            )
    return weights


FILES = OfficialFiles(
    key="model.diffusion_model.patchify_proj.weight",
    load_vae=load_vae,
    load_transformer=load_transformer,
)
