"""Wan 2.1's official files: `diffusion_pytorch_model.safetensors` with `Wan2.1_VAE.pth` beside it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from worldmodel.backbones.official import GivenConfig, OfficialFiles, OfficialPart
from worldmodel.backbones.wan import configs, keys
from worldmodel.backbones.weights import Weights
from worldmodel.files import read_json

TRANSFORMER = OfficialPart(
    name="transformer",
    cls=WanTransformer3DModel,
    arguments=configs.transformer_arguments,
    file_key=lambda _: keys.transformer_key,
    published=configs.WAN_21_13B["transformer"],
    size_key="patch_embedding.weight",
    size=(1536, 16, 1, 2, 2),
)
VAE = OfficialPart(
    name="vae",
    cls=AutoencoderKLWan,
    arguments=configs.vae_arguments,
    file_key=lambda vae: partial(keys.vae_key, res_blocks=vae.config.num_res_blocks),
    published=configs.WAN_21_13B["vae"],
    size_key="encoder.conv1.weight",
    size=(96, 3, 3, 3, 3),
)
REPACKED = "model.diffusion_model."
"""What repacked files put in front of the transformer's keys."""


def load_transformer(
    path: Path,
    config: GivenConfig = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> WanTransformer3DModel:
    """The transformer in an official text-to-video file; see `OfficialPart.load`.

    Without `config`, the config.json beside the file counts, else the published 1.3B.
    """
    weights = Weights(path)
    beside = path.with_name("config.json")
    if config is None and beside.is_file():
        config = {"transformer": read_json(beside)}
    repacked = any(name.startswith(REPACKED) for name in weights.names)
    return replace(TRANSFORMER, prefix=REPACKED if repacked else "").load(weights, config, dtype, device)


def load_vae(
    path: Path,
    config: GivenConfig = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> AutoencoderKLWan:
    """The VAE in `Wan2.1_VAE.pth` (or the same keys as .safetensors); see `OfficialPart.load`."""
    return VAE.load(Weights(path), config, dtype, device)


FILES = OfficialFiles(
    key="patch_embedding.weight",
    load_vae=load_vae,
    load_transformer=load_transformer,
    transformer_file="diffusion_pytorch_model.safetensors",
    vae_file="Wan2.1_VAE.pth",
)
