"""The networks that are timed: the published sizes with random weights, and the sizes of the shipped tiny model."""

from typing import Any

import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.random import drawn
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.errors import InputError
from worldmodel.models.families import FAMILIES

LTX_PROMPT = 128  # tokens of a prompt in diffusers' LTXPipeline; Wan has 512
SIZES: dict[str, tuple[str, tuple[int, int]]] = {
    "2b": ("ltx", FAMILIES["ltx"].chunk[1]),
    "1.3b": ("wan", FAMILIES["wan"].chunk[1]),
    "tiny": ("tiny", (128, 192)),
}
"""Name -> family, and the frames that it is trained on (paper Table 3)."""


def build(size: str, device: torch.device) -> Backbone:
    """The backbone of `size`, its network made on the device, in float32, ready for training."""
    if size != "tiny" and device.type == "cpu":
        raise InputError(f"--size {size} needs a CUDA device: weights, gradients and AdamW take over 20 GB; use tiny")
    backbone = tiny(device) if size == "tiny" else published(SIZES[size][0], device)
    network: Any = backbone.transformer
    network.requires_grad_(True).train()
    return backbone


def published(family: str, device: torch.device) -> Backbone:
    """LTX-Video 2B 0.9.5 with a prompt of full length, or Wan 2.1 1.3B; without memory for the VAE."""
    backbone = FAMILIES[family].random_backbone("real", torch.float32, device, with_vae=False)
    if family == "wan":
        return backbone
    width = backbone.empty_prompt()[0].shape[-1]
    embeds, mask = torch.zeros(1, LTX_PROMPT, width), torch.ones(1, LTX_PROMPT)
    return LTXBackbone(backbone.vae, backbone.transformer, empty_prompt_embeds=embeds, empty_prompt_mask=mask)  # type: ignore[arg-type]  # diffusers' classes have no types


def tiny(device: torch.device) -> Backbone:
    """The sizes of the shipped tiny model."""
    with drawn(torch.float32, device):
        vae = tiny_vae(base_channels=16, latent_channels=64, spatial=16, temporal=4)
        return tiny_backbone(vae, tiny_transformer(64, layers=4, heads=3, head_dim=96, caption_channels=16))
