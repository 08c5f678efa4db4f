"""What crosses an artifact's border: uint8 video and float32 latents; normalisation and guidance are inside.

Shape legend: B clips, P prompts (negative and positive, or one), R = P * B rows, prompt-major; F frames, H height,
W width, 3 colours; C f h w normalised latents.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from worldmodel.backbones.backbone import timesteps
from worldmodel.flow.guidance import Prompt, skip_reason
from worldmodel.pixels import signed_from_uint8, unit_from_signed


@dataclass(frozen=True)
class Chunk:
    """The size that graphs are made for: F frames of H x W from `cameras` clips at `frame_rate` frames a second.

    The network is told `network_rate` instead where that is not None. With `dynamic` the graphs take any size and
    number of clips; the frame rate stays.
    """

    frames: int
    height: int
    width: int
    cameras: int = 1
    frame_rate: float = 12.0
    dynamic: bool = False
    network_rate: float | None = None

    @property
    def told_rate(self) -> float:
        """Frames a second that the network is told."""
        return self.frame_rate if self.network_rate is None else self.network_rate


@dataclass(frozen=True)
class BakedPrompts:
    """One prompt, or (negative, positive) with the scale between them; see `worldmodel.flow.guidance`."""

    prompts: tuple[Prompt, ...]
    scale: float = 1.0
    guidance_skipped: str | None = None

    @staticmethod
    def of(empty: Prompt, prompt: Prompt | None, negative: Prompt | None, scale: float) -> "BakedPrompts":
        """As `FlowFramesPipeline` decides: what is not given is the empty prompt, and a no-op is not computed."""
        condition = prompt or empty
        against = None if prompt is None and negative is None else negative or empty
        skipped = skip_reason(condition, against, scale)
        if skipped is not None or against is None:
            return BakedPrompts((condition,), 1.0, skipped)
        return BakedPrompts((against, condition), scale)


class _Border(nn.Module):
    """A half of the VAE with what normalises its latents, (raw - mean) / scale, and the noise that is mixed in."""

    mean: Tensor
    scale: Tensor
    noise: Tensor | None

    def __init__(self, network: nn.Module, **buffers: Tensor | None) -> None:
        """`buffers` are mean, scale and noise; a graph lists its constants in the order in which they come here."""
        super().__init__()
        self.network = network
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)


class Encoder(_Border):
    """Video to the mean of the VAE's posterior, or to one sample of it, normalised."""

    input_names, output_names = ("video",), ("latents",)

    def __init__(
        self,
        network: nn.Module,
        mean_C: Float[Tensor, " C"],
        scale_C: Float[Tensor, " C"],
        noise_BCfhw: Float[Tensor, "B C f h w"] | None = None,
    ) -> None:
        """`network` maps pixels [B, 3, F, H, W] in [-1, 1] to moments: C channels of means, then log-variances.

        The sample is the one with this noise; without it the latents are the mean.
        """
        super().__init__(network, noise=noise_BCfhw, mean=_per_channel(mean_C), scale=_per_channel(scale_C))

    def forward(self, video: UInt8[Tensor, "B F H W 3"]) -> Float[Tensor, "B C f h w"]:
        """uint8 to float32, the same as `Backbone.encode(...)` of those frames gives."""
        pixels_BCFHW = signed_from_uint8(video).permute(0, 4, 1, 2, 3)
        moments, channels = self.network(pixels_BCFHW), self.mean.shape[1]
        mean_BCfhw = (moments[:, :channels].float() - self.mean) / self.scale
        if self.noise is None:
            return mean_BCfhw
        # Clamped as diffusers' posterior is.
        std_BCfhw = torch.exp(0.5 * moments[:, channels:].float().clamp(-30.0, 20.0)) / self.scale
        return mean_BCfhw + std_BCfhw * self.noise


class Decoder(_Border):
    """Normalised latents to video."""

    input_names, output_names = ("latents",), ("video",)

    def __init__(
        self,
        network: nn.Module,
        mean_C: Float[Tensor, " C"],
        scale_C: Float[Tensor, " C"],
        noise_1Cfhw: Float[Tensor, "1 C f h w"] | None = None,
        noise_scale: float = 0.0,
    ) -> None:
        """`network` maps raw latents to pixels [B, 3, F, H, W] in [-1, 1]; the noise is mixed in before it."""
        noise = None if noise_1Cfhw is None else noise_scale * noise_1Cfhw.float()
        super().__init__(network, mean=_per_channel(mean_C), scale=_per_channel(scale_C), noise=noise)
        self.noise_scale = noise_scale

    def forward(self, latents: Float[Tensor, "B C f h w"]) -> UInt8[Tensor, "B F H W 3"]:
        """float32 to uint8, rounded as by `worldmodel.pixels.to_uint8`."""
        return to_video(self.network(self.raw(latents)))

    def raw(self, latents: Float[Tensor, "B C f h w"]) -> Float[Tensor, "B C f h w"]:
        """Latents as the VAE's decoder takes them, float32."""
        raw_BCfhw = latents * self.scale + self.mean
        return raw_BCfhw if self.noise is None else (1 - self.noise_scale) * raw_BCfhw + self.noise


class Step(nn.Module):
    """One guided evaluation of the velocity."""

    input_names, output_names = ("latents", "sigma"), ("velocity",)

    def __init__(self, network: nn.Module, prompts: int, scale: float, whole_timesteps: bool = False) -> None:
        """`network` maps rows [R, C, f, h, w] and one timestep [1] to velocities; it holds `prompts` baked prompts."""
        super().__init__()
        self.network, self.prompts, self.guidance = network, prompts, scale
        self.whole_timesteps = whole_timesteps

    def forward(self, latents: Float[Tensor, "B C f h w"], sigma: Float[Tensor, "1"]) -> Float[Tensor, "B C f h w"]:
        """float32 to float32; the timestep is computed in float32 whatever the network computes in."""
        rows = torch.cat([latents] * self.prompts) if self.prompts > 1 else latents
        velocity = self.network(rows, timesteps(sigma, self.whole_timesteps)).float()
        if self.prompts == 1:
            return velocity
        negative, prompted = velocity.unflatten(0, (self.prompts, -1)).unbind()
        return negative + self.guidance * (prompted - negative)


def _per_channel(values_C: Float[Tensor, " C"]) -> Float[Tensor, "1 C 1 1 1"]:
    return values_C.float().view(1, -1, 1, 1, 1)


def to_video(pixels_BCFHW: Float[Tensor, "B 3 F H W"]) -> UInt8[Tensor, "B F H W 3"]:
    """Pixels in [-1, 1] to 8 bits, channels last; 8 bits at the very end, since TensorRT has them only as an output."""
    unit = unit_from_signed(pixels_BCFHW.float()).clamp(0, 1)
    return unit.mul(255).round().permute(0, 2, 3, 4, 1).to(torch.uint8)
