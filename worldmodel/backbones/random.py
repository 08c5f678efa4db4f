"""Backbones with random weights: for memory and latency, which do not depend on what a network has learned."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone
from worldmodel.backbones.wan import WanBackbone
from worldmodel.errors import InputError

PUBLISHED = Path("the published model")
FAMILIES = ("ltx", "wan")


def random_backbone(
    family: str,
    sizes: Literal["real", "tiny"] = "real",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Backbone:
    """The classes of `family` (ltx, wan) with weights drawn from `seed`, in the published sizes or in very small ones.

    The weights are made where they stay, in their own dtype. Raises `InputError` for another family.
    """
    if family not in FAMILIES:
        raise InputError(f"family={family}: choose {' or '.join(FAMILIES)} for random weights")
    make = {"ltx": (_ltx_2b, _ltx_tiny), "wan": (_wan_13b, _wan_tiny)}[family][sizes == "tiny"]
    with drawn(dtype, device, seed):
        backbone = make()
    for module in (backbone.vae, backbone.transformer):
        module.requires_grad_(False).eval()  # type: ignore[attr-defined]
    return backbone


@contextmanager
def drawn(dtype: torch.dtype, device: torch.device | str = "cpu", seed: int = 0) -> Iterator[None]:
    """Modules built inside draw their weights from `seed`, in the dtype and on the device where they stay."""
    place, before = torch.device(device), torch.get_default_dtype()
    with torch.random.fork_rng([place] if place.type == "cuda" else []), place:
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _ltx_2b() -> Backbone:
    sizes = configs.ltx_transformer_arguments(configs.LTX_2B_095["transformer"], PUBLISHED)
    vae = AutoencoderKLLTXVideo(**configs.ltx_vae_arguments(configs.LTX_2B_095["vae"], PUBLISHED))
    return LTXBackbone(vae, LTXVideoTransformer3DModel(**sizes))


def _wan_13b() -> Backbone:
    vae = AutoencoderKLWan(**configs.wan_vae_arguments(configs.WAN_21_13B["vae"], PUBLISHED))
    sizes = configs.wan_transformer_arguments(configs.WAN_21_13B["transformer"], PUBLISHED)
    return WanBackbone(vae, WanTransformer3DModel(**sizes))


def _ltx_tiny() -> Backbone:
    backbone = tiny_backbone()
    backbone.name = "ltx"
    return backbone


def _wan_tiny() -> Backbone:
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, ffn_dim=64, num_layers=2, freq_dim=32, text_dim=24
    )
    return WanBackbone(AutoencoderKLWan(base_dim=4), transformer)
