"""What every figure lies between: methods that predict nothing, and the VAE that no prediction decoded by it passes.

Shape legend: B clips, F observed frames, G predicted frames, H height, W width, 3 colours; C f h w are latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.methods.flowframes import ModelOptions, chunk, licences, opened
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.settings import Count, Settings, Size

NONE = Licences("Apache-2.0 (this package)", "none")


@dataclass(frozen=True)
class RepeatOptions(Settings):
    """Options of `repeat_last`.

    Attributes:
        size: height and width of the frames. frames: observed, and predicted.
    """

    size: Size = (256, 384)
    frames: Count = 17


class RepeatLast(Method):
    """The last observed frame, again and again."""

    def __init__(self, options: RepeatOptions) -> None:
        self.options = options

    @property
    def spec(self) -> Spec:
        options = self.options
        return Spec("repeat_last", options.size, "none", NONE, options.frames, options.frames)

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {}

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        return observed[:, -1:].repeat(1, self.options.frames, 1, 1, 1)


class _OfVae(Method):
    """A method that needs a model's VAE alone."""

    def __init__(self, options: ModelOptions, pipeline: FlowFramesPipeline) -> None:
        self.options, self.pipeline = options, pipeline

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"vae": self.pipeline.vae}

    def _encode(self, video: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B C f h w"]:
        return self._backbone.encode(video.transpose(1, 2)).mean_BCfhw

    def _decode(self, latents: Float[Tensor, "B C f h w"]) -> Float[Tensor, "B F 3 H W"]:
        return self._backbone.decode(latents).float().clamp(-1, 1).transpose(1, 2)

    @property
    def _backbone(self) -> Backbone:
        return self.pipeline.backbone


class LatentExtrapolation(_OfVae):
    """A straight line through the observed latents: the last one plus its change over the chunk, per latent frame."""

    @property
    def spec(self) -> Spec:
        size, frames = chunk(self.options, self._backbone)
        canvas = f"{frames} observed and {frames} future frames, encoded and decoded apart"
        return Spec("latent_extrapolation", size, canvas, licences(self._backbone), frames, frames)

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        latents_BCfhw = self._encode(observed)
        count = latents_BCfhw.shape[2]
        first, last = latents_BCfhw[:, :, :1], latents_BCfhw[:, :, -1:]
        ahead_f = torch.arange(1, count + 1, device=latents_BCfhw.device).view(1, 1, -1, 1, 1)
        return self._decode(last + (last - first) / max(1, count - 1) * ahead_f)


class VaeRoundTrip(_OfVae):
    """The future itself, encoded and decoded."""

    @property
    def spec(self) -> Spec:
        size, frames = chunk(self.options, self._backbone)
        canvas = f"the {frames} true future frames, encoded (posterior mean) and decoded"
        return Spec("vae_round_trip", size, canvas, licences(self._backbone), frames, frames, sees_truth=True)

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        return self._decode(self._encode(observed))


def load_repeat_last(options: RepeatOptions) -> RepeatLast:
    """No weights."""
    return RepeatLast(options)


def load_latent_extrapolation(options: ModelOptions) -> LatentExtrapolation:
    """With the VAE of the model that `options` names."""
    return LatentExtrapolation(options, opened(FlowFramesPipeline, options))


def load_vae_round_trip(options: ModelOptions) -> VaeRoundTrip:
    """With the VAE of the model that `options` names."""
    return VaeRoundTrip(options, opened(FlowFramesPipeline, options))
