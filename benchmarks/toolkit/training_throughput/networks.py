"""The networks that are timed: the published sizes with random weights, and the sizes of the shipped tiny model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.backbones.wan import WanBackbone
from worldmodel.errors import InputError

PUBLISHED = Path("the published model")
LTX_PROMPT = 128  # tokens of a prompt in diffusers' LTXPipeline; Wan has 512


def ltx_2b() -> Backbone:
    """LTX-Video 2B 0.9.5; its VAE without memory, for the geometry."""
    with torch.device("meta"):
        vae = AutoencoderKLLTXVideo(**configs.ltx_vae_arguments(configs.LTX_2B_095["vae"], PUBLISHED))
    sizes = configs.ltx_transformer_arguments(configs.LTX_2B_095["transformer"], PUBLISHED)
    prompt = torch.zeros(1, LTX_PROMPT, sizes["caption_channels"]), torch.ones(1, LTX_PROMPT)
    return LTXBackbone(
        vae, LTXVideoTransformer3DModel(**sizes), empty_prompt_embeds=prompt[0], empty_prompt_mask=prompt[1]
    )


def wan_13b() -> Backbone:
    """Wan 2.1 1.3B; its VAE without memory, for the geometry."""
    with torch.device("meta"):
        vae = AutoencoderKLWan(**configs.wan_vae_arguments(configs.WAN_21_13B["vae"], PUBLISHED))
    sizes = configs.wan_transformer_arguments(configs.WAN_21_13B["transformer"], PUBLISHED)
    return WanBackbone(vae, WanTransformer3DModel(**sizes))


def tiny() -> Backbone:
    """The sizes of the shipped tiny model."""
    vae = tiny_vae(base_channels=16, latent_channels=64, spatial=16, temporal=4)
    return tiny_backbone(vae, tiny_transformer(64, layers=4, heads=3, head_dim=96, caption_channels=16))


SIZES: dict[str, tuple[Callable[[], Backbone], tuple[int, int]]] = {
    "2b": (ltx_2b, (256, 384)),
    "1.3b": (wan_13b, (240, 416)),
    "tiny": (tiny, (128, 192)),
}


def build(size: str, device: torch.device) -> Backbone:
    """The backbone of `size`, its network made on the device, in float32, ready for training."""
    if size != "tiny" and device.type != "cuda":
        raise InputError(f"--size {size} needs a CUDA device: weights, gradients and AdamW take over 20 GB; use tiny")
    torch.manual_seed(0)
    with device:
        backbone = SIZES[size][0]()
    network: Any = backbone.transformer
    network.requires_grad_(True).train()
    return backbone
