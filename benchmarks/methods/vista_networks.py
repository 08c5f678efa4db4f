"""The networks of Vista and GEM, opened together: from one published file, or with random weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import nn
from transformers import CLIPVisionModelWithProjection

from worldmodel.backbones.random import drawn
from worldmodel.backbones.weights import Weights
from worldmodel.benchmarks.methods import vista_configs as configs
from worldmodel.benchmarks.methods import vista_weights as official
from worldmodel.benchmarks.methods.vista_unet import VistaUNet
from worldmodel.errors import InputError
from worldmodel.files import expanded, read_json
from worldmodel.models.open import chosen_device
from worldmodel.settings import Count, Device, Settings, Size, Text

Dtype = Literal["float32", "bfloat16", "float16"]
BATCH = 1  # 34 frames of 576x1024 fill an 80 GB card; any batch gives the same frames
MULTIPLE = 64  # 8 by the VAE, 8 by the three downsamplers of the UNet


@dataclass(frozen=True)
class SvdOptions(Settings):
    """What Vista and GEM have in common.

    Attributes:
        weights: the published .safetensors file, or the folder that holds it; `random` draws weights, which is enough
            for memory and latency. sizes: of random weights; real is the published one, tiny is for tests.
        config: a JSON file with `unet`, `vae` and `clip` in the official words, for networks of other sizes.
        size: height and width, multiples of 64. observed_frames, future_frames: how many go in and come out.
        dtype: of the weights. vae_dtype: of the VAE's and of the reference frame's encoder; float16 overflows there.
        device: auto, cpu, cuda, cuda:N.
    """

    weights: Text = "random"
    sizes: Literal["real", "tiny"] = "real"
    config: Text | None = None
    size: Size = (576, 1024)
    observed_frames: Count = 17
    future_frames: Count = 17
    dtype: Dtype = "float32"
    vae_dtype: Dtype = "float32"
    device: Device = "auto"


@dataclass(frozen=True)
class SvdNetworks:
    """The modules; GEM has no image encoder."""

    unet: VistaUNet
    vae: AutoencoderKLTemporalDecoder
    reference_encoder: official.ReferenceEncoder
    image_encoder: CLIPVisionModelWithProjection | None = None

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.unet.conv_in.weight.device

    def by_name(self) -> Mapping[str, nn.Module]:
        """Those that are there."""
        modules = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: module for name, module in modules.items() if module is not None}

    def latent_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Channels, height and width of the latents of frames of `size`."""
        return self.vae.config.latent_channels, size[0] // 8, size[1] // 8


def check_size(size: tuple[int, int]) -> None:
    """Raises `InputError` for a size that the networks do not take."""
    if any(side % MULTIPLE or side <= 0 for side in size):
        nearest = [max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in size]
        raise InputError(f"size={size[0]}x{size[1]}: multiples of {MULTIPLE} are needed; use {nearest[0]}x{nearest[1]}")


def file_of(weights: str, name: str, where: str) -> Path:
    """The published file that `weights` is or holds; raises `InputError` with `where` people get it."""
    path = expanded(weights)
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; {where}, or use weights=random for memory and latency")
    return path


def draw_networks(options: SvdOptions, clip: bool) -> SvdNetworks:
    """With weights drawn from a fixed seed."""
    config = _config(options, configs.SIZES[options.sizes])
    place, vae_place = places(options)
    with drawn(place.dtype or torch.float32, place.device):
        unet = official.new_unet(config["unet"])
        seen = CLIPVisionModelWithProjection(configs.clip_config(config["clip"])) if clip else None
    with drawn(vae_place.dtype or torch.float32, vae_place.device):
        vae = official.new_vae(config["vae"])
        reference = official.ReferenceEncoder(**configs.encoder_arguments(config["vae"]))
    for module in (unet, vae, reference, *((seen,) if seen is not None else ())):
        # diffusers' mixing factors are made on the CPU whatever device is asked for
        module.to(place.device)
        module.requires_grad_(False).eval()
    return SvdNetworks(unet, vae, reference, seen)


def load_networks(options: SvdOptions, weights: Weights, clip: bool, unused: Iterable[str] = ()) -> SvdNetworks:
    """From the published layout, strictly; `unused` are parts beside the UNet (prefixes) that are not loaded."""
    config = _config(options, configs.REAL)
    place, vae_place = places(options)
    return SvdNetworks(
        official.load_unet(weights, config["unet"], place, unused),
        official.load_vae(weights, config["vae"], vae_place),
        official.load_reference_encoder(weights, config["vae"], vae_place),
        official.load_image_encoder(weights, config["clip"], place) if clip else None,
    )


def places(options: SvdOptions) -> tuple[official.Placement, official.Placement]:
    """Of the UNet and the image encoder, and of the VAE and the reference frame's encoder."""
    device = chosen_device(options.device)
    unet, vae = (getattr(torch, name) for name in (options.dtype, options.vae_dtype))
    return official.Placement(unet, device), official.Placement(vae, device)


def _config(options: SvdOptions, default: Mapping[str, configs.Config]) -> Mapping[str, configs.Config]:
    if options.config is None:
        return default
    config: dict[str, Any] = read_json(Path(options.config))
    for part in ("unet", "vae", "clip"):
        if not isinstance(config.get(part), dict):
            raise InputError(f"{options.config}: has no {part!r}; write down its sizes in the official words")
    return config
