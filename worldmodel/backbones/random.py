"""Backbones with random weights: for memory and latency, which do not depend on what a network has learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.tiny import tiny_transformer, tiny_vae
from worldmodel.backbones.wan import WanBackbone
from worldmodel.errors import InputError

PUBLISHED = Path("the published model")
Sizes = Literal["real", "mid", "tiny"]
"""Published; some 30 M in the transformer, for timings on a CPU; and as small as the classes allow."""


def random_backbone(
    family: str,
    sizes: Sizes = "real",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
    with_vae: bool = True,
) -> Backbone:
    """The classes of `family` (ltx, wan) with weights drawn from `seed`, in one of `Sizes`.

    The weights are made where they stay, in their own dtype; without VAE, those of the VAE take no memory and it is
    there for its geometry alone. Raises `InputError` for another family.
    """
    if family not in CLASSES:
        raise InputError(f"family={family}: choose {' or '.join(CLASSES)} for random weights")
    make_vae, make_transformer = MODULES[family, sizes]
    with drawn(dtype, device, seed):
        with nullcontext() if with_vae else torch.device("meta"):
            vae = make_vae()
        backbone = CLASSES[family](vae, make_transformer())
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


def _ltx_vae() -> AutoencoderKLLTXVideo:
    return AutoencoderKLLTXVideo(**configs.ltx_vae_arguments(configs.LTX_2B_095["vae"], PUBLISHED))


def _ltx_transformer() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(**configs.ltx_transformer_arguments(configs.LTX_2B_095["transformer"], PUBLISHED))


def _wan_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(**configs.wan_vae_arguments(configs.WAN_21_13B["vae"], PUBLISHED))


def _wan_transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(**configs.wan_transformer_arguments(configs.WAN_21_13B["transformer"], PUBLISHED))


def _ltx_mid_vae() -> AutoencoderKLLTXVideo:
    return tiny_vae(base_channels=32, latent_channels=128, spatial=32, timestep_conditioning=True)


def _ltx_mid_transformer() -> LTXVideoTransformer3DModel:
    return tiny_transformer(128, layers=8, heads=8, head_dim=64, caption_channels=128)


def _wan_mid_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=12)


def _wan_mid_transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=128, ffn_dim=2560, num_layers=6, freq_dim=256, text_dim=64
    )


def _wan_tiny_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=4)


def _wan_tiny_transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, ffn_dim=64, num_layers=2, freq_dim=32, text_dim=24
    )


CLASSES: dict[str, Callable[..., Backbone]] = {"ltx": LTXBackbone, "wan": WanBackbone}
MODULES: dict[tuple[str, str], tuple[Callable[..., Any], Callable[..., Any]]] = {
    ("ltx", "real"): (_ltx_vae, _ltx_transformer),
    ("wan", "real"): (_wan_vae, _wan_transformer),
    ("ltx", "mid"): (_ltx_mid_vae, _ltx_mid_transformer),
    ("wan", "mid"): (_wan_mid_vae, _wan_mid_transformer),
    ("ltx", "tiny"): (tiny_vae, tiny_transformer),
    ("wan", "tiny"): (_wan_tiny_vae, _wan_tiny_transformer),
}
