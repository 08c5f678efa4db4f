"""`worldmodel cache look`: some pairs of a latent cache as a picture.

Shape legend: F frames, H height, W width, 3 colours; C f h w are latents.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from worldmodel.conventions import Conventions, conventions_of
from worldmodel.datasets.pairs import LatentPair
from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.flow.inversion import midpoint
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import to_uint8, unit_from_signed
from worldmodel.settings import Count, Settings, Text
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.latent_cache import LatentCache
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.start import starting_pipeline


@dataclass(frozen=True)
class CacheLookConfig(Settings):
    """What of a cache is decoded for a look.

    Attributes:
        folder: the cache, a folder with card.json.
        pretrained: the model that made it: a pipeline folder, a shipped name, official files or a hub id.
        out: PNG to write.
        pairs: how many, spread evenly.
        steps: of the integration that carries inverted noise back to video.
        transformer: folder of one that was trained alone, where the cache was built with it in place of pretrained's.
    """

    folder: Text
    pretrained: Text
    out: Text = "cache.png"
    pairs: Count = 6
    steps: Count = 25
    transformer: Text | None = None


def look_into_cache(config: CacheLookConfig) -> Path:
    """Decode some pairs: last observed frame, middle and last future frame, and the latter again from inverted noise.

    Raises:
        InputError: the model is not the one that made the cache.
    """
    cache = LatentCache(config.folder)
    pipeline = starting_pipeline(
        TrainConfig(DataConfig("unused"), pretrained=config.pretrained, transformer=config.transformer)
    )
    encoder = LatentEncoder(pipeline.backbone, cache.card.inversion_steps, "no")
    if encoder.vae_sha256 != cache.card.vae or encoder.network_sha256 != cache.card.network:
        raise InputError(f"{config.folder}: made by another model than pretrained={config.pretrained}; give that one")
    numbers = np.linspace(0, len(cache) - 1, min(config.pairs, len(cache))).round().astype(int).tolist()
    conventions = conventions_of(cache.card.conventions)
    rows = [_row(pipeline, cache[number], config.steps, conventions) for number in numbers]
    with written_whole(config.out, ".png") as part:
        Image.fromarray(np.concatenate(rows)).save(part, "PNG")
    print(f"{config.out}: {len(rows)} of {len(cache)} pairs; {_columns(cache)}")
    return Path(config.out)


def _columns(cache: LatentCache) -> str:
    columns = "last observed frame, middle and last future frame"
    return columns + (", the same two from inverted noise" if cache.card.inversion_steps else "")


@torch.no_grad()
def _row(
    pipeline: FlowFramesPipeline, pair: LatentPair, steps: int, conventions: Conventions
) -> UInt8[np.ndarray, "H w 3"]:
    observed, future = (_decoded(pipeline, latents) for latents in pair.mean)
    frames = [observed[-1], *_two_of(future)]
    if pair.noise is not None:
        backbone, rate = pipeline.backbone, conventions.training.frame_rate or pair.frame_rate
        assert rate is not None
        backbone.conventions = conventions
        prompt, mask = backbone.empty_prompt()

        def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
            return backbone.velocity(x, sigma_B, prompt, mask, rate)

        frames += _two_of(_decoded(pipeline, midpoint(velocity, pair.noise.float()[None], 1.0, 0.0, steps).x[0]))
    return torch.cat(frames, dim=2).permute(1, 2, 0).numpy()


def _two_of(video_FCHW: UInt8[Tensor, "F 3 H W"]) -> list[Tensor]:
    return [video_FCHW[len(video_FCHW) // 2], video_FCHW[-1]]


def _decoded(pipeline: FlowFramesPipeline, latents_Cfhw: Any) -> UInt8[Tensor, "F 3 H W"]:
    return to_uint8(unit_from_signed(pipeline.backbone.decode(latents_Cfhw.float()[None])[0]).transpose(0, 1))
