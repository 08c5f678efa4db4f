"""Vista's published file (and GEM's, of the same layout), loaded strictly into diffusers' and transformers' classes.

The file holds four networks: `model.diffusion_model.*` the UNet, `first_stage_model.*` the VAE,
`conditioner.embedders.0.open_clip.model.visual.*` the image encoder, `conditioner.embedders.3.encoder.*` the encoder of
the reference frame. Each loader raises `InputError` naming the first missing, extra or misshapen key.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLTemporalDecoder
from diffusers.models.autoencoders.vae import Encoder
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from worldmodel.backbones.weights import Weights, load_strictly
from worldmodel.benchmarks.methods import vista_configs as configs
from worldmodel.benchmarks.methods.vista_keys import clip_key, unet_key, vae_key
from worldmodel.benchmarks.methods.vista_unet import VistaUNet
from worldmodel.errors import InputError

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "conditioner.embedders.0.open_clip.model.visual."
REFERENCE = "conditioner.embedders.3.encoder."
# In the file, used by no one here: open_clip's text side.
TEXT_SIDE = tuple(
    "conditioner.embedders.0.open_clip.model." + name
    for name in ("positional_embedding", "text_projection", "logit_scale", "token_embedding.", "ln_final.")
)


@dataclass(frozen=True)
class Placement:
    """Where a module's weights go: `dtype` None keeps the file's (random weights: float32)."""

    dtype: torch.dtype | None = None
    device: torch.device | str = "cpu"


class VistaWeights(Weights):
    """The file, with the few tensors that lie otherwise there presented as the classes have them.

    1 x 1 convolutions of the VAE's attention are matrices; open_clip's joint `in_proj_weight` is three,
    `in_proj_weight[q]`, `[k]`, `[v]`; its `proj` is transposed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for name in self.names:
            shape = self.shape(name)
            if re.search(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$", name) and shape[2:] == (1, 1):
                self._present(name, name, shape[:2], lambda tensor: tensor.flatten(1))
            elif name == CLIP + "proj":
                self._present(name, name, shape[::-1], lambda tensor: tensor.T)
            elif name.startswith(CLIP) and re.search(r"\.in_proj_(weight|bias)$", name):
                third = (shape[0] // 3, *shape[1:])
                for part, letter in enumerate("qkv"):
                    self._present(f"{name}[{letter}]", name, third, partial(_third, part))
                del self._shapes[name]

    def _present(self, name: str, stored: str, shape: tuple[int, ...], change: Callable[[Tensor], Tensor]) -> None:
        read = self._read[stored]
        self._read[name] = lambda _: change(read(stored)).contiguous()
        self._shapes[name] = shape


class ReferenceEncoder(nn.Module):
    """The encoder of the reference frame: the VAE's layers with weights of their own; gives the posterior's mean."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.encoder = Encoder(**arguments)
        self.quant_conv = nn.Conv2d(2 * arguments["out_channels"], 2 * arguments["out_channels"], 1)

    def forward(self, image_BCHW: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Pixels in [-1, 1] to latents that are not scaled."""
        return self.quant_conv(self.encoder(image_BCHW)).chunk(2, dim=1)[0]


def new_unet(config: configs.Config) -> VistaUNet:
    """A UNet of these sizes with the weights that its layers draw."""
    return VistaUNet(**configs.unet_arguments(config))


def new_vae(config: configs.Config) -> AutoencoderKLTemporalDecoder:
    """The VAE; upstream has no layer between encoder and posterior, so diffusers' quant_conv is the identity."""
    vae = AutoencoderKLTemporalDecoder(**configs.vae_arguments(config))
    vae.quant_conv = nn.Identity()
    return vae


def load_unet(
    weights: Weights,
    config: configs.Config = configs.REAL["unet"],
    place: Placement = Placement(),
    unused: Iterable[str] = (),
) -> VistaUNet:
    """The UNet in Vista's file, or in GEM's with the `unused` parts that lie beside it (prefixes behind `UNET`)."""
    with init_empty_weights(include_buffers=False):
        unet = new_unet(config)
    ignored = _starting(weights, UNET, unused)
    file_key = partial(unet_key, layers=config["num_res_blocks"])
    return _filled(unet, weights, file_key, UNET, ignored, place)


def load_vae(
    weights: Weights, config: configs.Config = configs.REAL["vae"], place: Placement = Placement()
) -> AutoencoderKLTemporalDecoder:
    """The VAE in Vista's or GEM's file."""
    with init_empty_weights(include_buffers=False):
        vae = new_vae(config)
    return _filled(vae, weights, partial(vae_key, levels=len(config["ch_mult"])), VAE, frozenset(), place)


def load_reference_encoder(
    weights: Weights, config: configs.Config = configs.REAL["vae"], place: Placement = Placement()
) -> ReferenceEncoder:
    """The second encoder in Vista's or GEM's file."""
    with init_empty_weights(include_buffers=False):
        encoder = ReferenceEncoder(**configs.encoder_arguments(config))
    ignored = _starting(weights, REFERENCE, ("decoder.", "post_quant_conv."))
    return _filled(encoder, weights, partial(vae_key, levels=len(config["ch_mult"])), REFERENCE, ignored, place)


def load_image_encoder(
    weights: Weights, config: configs.Config = configs.REAL["clip"], place: Placement = Placement()
) -> CLIPVisionModelWithProjection:
    """The CLIP image encoder in Vista's file, from the open_clip layout."""
    with init_empty_weights(include_buffers=False):
        encoder = CLIPVisionModelWithProjection(configs.clip_config(config))
    return _filled(encoder, weights, clip_key, CLIP, frozenset(), place)


def refuse_strangers(weights: Weights, known: tuple[str, ...]) -> None:
    """Raises `InputError` for a key of the file that starts with none of `known`."""
    for name in weights.names:
        if not name.startswith(known):
            raise InputError(f"{weights.path}: key {name} is not part of this model; give the published file")


def _filled(
    module: Any,
    weights: Weights,
    file_key: Callable[[str], str],
    prefix: str,
    ignored: frozenset[str],
    place: Placement,
) -> Any:
    load_strictly(module, weights, file_key, prefix, ignored, place.dtype, place.device)
    return module.requires_grad_(False).eval()


def _starting(weights: Weights, prefix: str, unused: Iterable[str]) -> frozenset[str]:
    """Names behind `prefix` that start with one of `unused`."""
    starts = tuple(prefix + start for start in unused)
    return frozenset(name.removeprefix(prefix) for name in weights.names if name.startswith(starts))


def _third(part: int, tensor: Tensor) -> Tensor:
    return tensor.chunk(3)[part]
