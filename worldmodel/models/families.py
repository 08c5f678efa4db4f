"""One record a family of pretrained video models: everything in which they differ, asked by every room.

A further backbone is a folder in `worldmodel.backbones` and a record here. Default guidance and scheduler are the
backbone class's own.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pkgutil import resolve_name
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import official as ltx
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.official import OfficialFiles
from worldmodel.backbones.random import drawn
from worldmodel.backbones.tiny import tiny_transformer, tiny_vae
from worldmodel.backbones.wan import official as wan
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.errors import InputError
from worldmodel.models.prompts import EmbedTexts, embed_as_ltx, embed_as_wan

Sizes = Literal["real", "mid", "tiny"]
"""Published; some 30 M in the transformer, for timings on a CPU; and as small as the classes allow."""
ChunkSize = tuple[int, tuple[int, int]]
"""Frames, and height and width."""
Networks = tuple[Callable[[], Any], Callable[[], Any]]
"""Make a VAE, and a transformer that belongs to it."""


@dataclass(frozen=True)
class Family:
    """A pretrained video model and its relatives of other sizes.

    Attributes:
        name: as in results, manifests and options. title: as in sentences.
        backbone: class that sees the two networks as a `Backbone`.
        vae, transformer: their diffusers classes.
        chunk: that the paper trains at (Table 3); taken where nothing says another size.
        weights_licence: of the published weights.
        embed: texts as the pretrained model was trained on them. text_encoder: class of its encoder in transformers.
        official: the authors' own files; None where there are none.
        networks: makers of networks with random weights, by size.
        saved_options: of the backbone, which a pipeline keeps in its model_index.json.
        onnx_parts: "module:function" that makes the exported graphs' modules, imported when it is asked for; None where
            there is no export. onnx_stream: likewise, of a decoder that goes latent by latent.
    """

    name: str
    title: str
    backbone: type[Backbone]
    vae: Any
    transformer: Any
    chunk: ChunkSize
    weights_licence: str
    embed: EmbedTexts
    text_encoder: str
    official: OfficialFiles | None = None
    networks: Mapping[Sizes, Networks] = field(default_factory=dict)
    saved_options: tuple[str, ...] = ()
    onnx_parts: str | None = None
    onnx_stream: str | None = None

    def random_backbone(
        self,
        sizes: Sizes = "real",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        seed: int = 0,
        with_vae: bool = True,
    ) -> Backbone:
        """The backbone with weights drawn from `seed`, made where they stay, in their own dtype.

        Without VAE, the VAE's weights take no memory and it is there for its geometry alone.
        """
        make_vae, make_transformer = self.networks[sizes]
        with drawn(dtype, device, seed):
            with nullcontext() if with_vae else torch.device("meta"):
                vae = make_vae()
            make_backbone: Callable[..., Backbone] = self.backbone
            backbone = make_backbone(vae, make_transformer())
        networks: tuple[Any, Any] = (backbone.vae, backbone.transformer)
        for network in networks:
            network.requires_grad_(False).eval()
        return backbone

    def export_function(self, what: Literal["onnx_parts", "onnx_stream"]) -> Callable[..., Any] | None:
        """The function that a dotted name stands for, imported now; None where the family has none."""
        name: str | None = getattr(self, what)
        return None if name is None else resolve_name(name)


LTX = Family(
    name="ltx",
    title="LTX-Video",
    backbone=LTXBackbone,
    vae=AutoencoderKLLTXVideo,
    transformer=LTXVideoTransformer3DModel,
    chunk=(17, (256, 384)),
    weights_licence="OpenRAIL-M (LTX-Video 2b-v0.9.5)",
    embed=embed_as_ltx,
    text_encoder="T5EncoderModel",
    official=ltx.FILES,
    networks={
        "real": (ltx.VAE.as_published, ltx.TRANSFORMER.as_published),
        "mid": (
            partial(tiny_vae, base_channels=32, latent_channels=128, spatial=32, timestep_conditioning=True),
            partial(tiny_transformer, 128, layers=8, heads=8, head_dim=64, caption_channels=128),
        ),
        "tiny": (tiny_vae, tiny_transformer),
    },
    saved_options=("decode_timestep", "decode_noise_scale"),
    onnx_parts="worldmodel.export.graphs.ltx:ltx_parts",
)
WAN = Family(
    name="wan",
    title="Wan 2.1",
    backbone=WanBackbone,
    vae=AutoencoderKLWan,
    transformer=WanTransformer3DModel,
    chunk=(17, (240, 416)),
    weights_licence="Apache-2.0 (Wan 2.1)",
    embed=embed_as_wan,
    text_encoder="UMT5EncoderModel",
    official=wan.FILES,
    networks={
        "real": (wan.VAE.as_published, wan.TRANSFORMER.as_published),
        "mid": (
            partial(AutoencoderKLWan, base_dim=12),
            partial(
                WanTransformer3DModel,
                num_attention_heads=4, attention_head_dim=128, ffn_dim=2560, num_layers=6, freq_dim=256, text_dim=64,
            ),
        ),
        "tiny": (
            partial(AutoencoderKLWan, base_dim=4),
            partial(
                WanTransformer3DModel,
                num_attention_heads=2, attention_head_dim=24, ffn_dim=64, num_layers=2, freq_dim=32, text_dim=24,
            ),
        ),
    },
    saved_options=("text_length",),
    onnx_parts="worldmodel.export.graphs.wan:wan_parts",
    onnx_stream="worldmodel.export.graphs.wan_vae_stream:wan_stream",
)  # fmt: skip
TINY = replace(
    LTX,
    name="tiny",
    title="tiny",
    weights_licence="Apache-2.0 (trained on the toy world)",
    official=None,
    networks={},
)
"""The shipped models: LTX-Video's classes, trained here."""

FAMILIES: dict[str, Family] = {family.name: family for family in (LTX, WAN, TINY)}
"""By name; the first whose class fits is the family of a network that says no name."""


def family_named(name: str) -> Family:
    """The family of this name, if its networks can be made or read; raises `InputError` for another."""
    published = [family.name for family in FAMILIES.values() if family.networks]
    if name not in published:
        raise InputError(f"family={name}: choose {' or '.join(published)}")
    return FAMILIES[name]


def family_of(backbone: Backbone) -> Family:
    """The family that a backbone says by its name, else the one of its VAE's class."""
    family = FAMILIES.get(backbone.name)
    if family is not None and isinstance(backbone, family.backbone):
        return family
    return family_of_vae(backbone.vae)


def family_of_vae(vae: object) -> Family:
    """The first family with a VAE of this class; raises `InputError` where there is none."""
    for family in FAMILIES.values():
        if isinstance(vae, family.vae):
            return family
    classes = dict.fromkeys(family.vae.__name__ for family in FAMILIES.values())
    raise InputError(f"vae {type(vae).__name__}: use {' or '.join(classes)}")


def family_of_class(part: Literal["vae", "transformer"], class_name: object) -> Family | None:
    """The first family whose VAE or transformer is of the class of this name."""
    for family in FAMILIES.values():
        if getattr(family, part).__name__ == class_name:
            return family
    return None


def titles() -> str:
    """The families whose pretrained weights can be given, for a sentence."""
    return " or ".join(family.title for family in FAMILIES.values() if family.networks)
