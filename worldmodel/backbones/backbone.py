"""A pretrained video model seen as three things: a VAE, a velocity network, a latent geometry.

Shape legend: B batch, C channels (3 in pixels, `geometry.channels` in latents), F frames, H height, W width;
lower-case f, h, w count latents. Latents are always the normalised ones, (z - mean) / std per channel.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import ModelMixin, SchedulerMixin
from jaxtyping import Float
from torch import Tensor

from worldmodel.conventions import PAPER, Conventions
from worldmodel.errors import InputError

FrameRate = float | Tensor
"""Frames a second: one number, or one per clip [B]."""


@dataclass(frozen=True)
class LatentGeometry:
    """How pixels map to latents: `channels`, temporal ratio, spatial ratio, transformer patch (t, h, w)."""

    channels: int
    temporal: int
    spatial: int
    patch: tuple[int, int, int] = (1, 1, 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, f, h, w) of a clip; raises `InputError` naming the nearest sizes that fit."""
        self.check(frames, height, width)
        return (
            self.channels,
            (frames - 1) // self.temporal + 1,
            height // self.spatial,
            width // self.spatial,
        )

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Tokens that the transformer sees for one clip."""
        _, f, h, w = self.latent_shape(frames, height, width)
        return (f // self.patch[0]) * (h // self.patch[1]) * (w // self.patch[2])

    def fitting_frames(self, frames: int) -> tuple[int, int]:
        """The nearest frame counts k * temporal + 1 at or below, and at or above, `frames`."""
        below = max(0, (frames - 1) // self.temporal) * self.temporal + 1
        return below, below if below == frames else below + self.temporal

    def check(self, frames: int, height: int, width: int) -> None:
        """Raise `InputError` unless a clip of this size has a latent."""
        below, above = self.fitting_frames(frames)
        if frames != below:
            raise InputError(f"{frames} frames: this backbone needs {self.temporal}k+1; use {below} or {above}")
        for name, size, patch in (("height", height, self.patch[1]), ("width", width, self.patch[2])):
            unit = self.spatial * patch
            if size < unit or size % unit:
                near = max(unit, round(size / unit) * unit)
                raise InputError(f"{name} {size}: this backbone needs a multiple of {unit}; use {near}")


@dataclass(frozen=True)
class Posterior:
    """The VAE's Gaussian over one chunk, in normalised latents."""

    mean_BCfhw: Float[Tensor, "B C f h w"]
    std_BCfhw: Float[Tensor, "B C f h w"]


def timesteps(sigma_B: Float[Tensor, " B"], whole: bool) -> Float[Tensor, " B"]:
    """What the network is fed, 1000 * sigma in float32; `whole` drops the fraction, as an int64 would."""
    # In float32: bfloat16 has no number between 936 and 940, and a timestep is where the network knows its place.
    timestep_B = 1000.0 * sigma_B.float()
    return timestep_B.floor() if whole else timestep_B


class Backbone(ABC):
    """What the pipeline and the trainer ask of a pretrained video model.

    `vae` and `transformer` are the plain diffusers modules, so that saving, compiling, LoRA and
    export see nothing of ours.

    Attributes:
        conventions: which positions and decoder settings are meant, and for Wan the three below.
        source: what of the posterior a prediction starts from.
        first_sigma: see `worldmodel.flow.solvers.set_sigmas`.
        whole_timesteps: in a prediction; see `timesteps`.
        prompt_width: D of its prompts. text_length: tokens to which they are padded; None where any number will do.
    """

    name: str
    conventions: Conventions = PAPER
    source: Literal["mean", "sample"] = "mean"
    first_sigma: float | None = None
    whole_timesteps: bool = False
    vae: ModelMixin
    transformer: ModelMixin
    default_guidance: float = 1.0
    prompt_width: int
    text_length: int | None = None

    @property
    @abstractmethod
    def geometry(self) -> LatentGeometry:
        """Ratios read from the loaded modules' configs."""

    @abstractmethod
    def encode(self, video_BCFHW: Float[Tensor, "B 3 F H W"]) -> Posterior:
        """Pixels in [-1, 1] to the posterior. Observed and future chunks are encoded separately."""

    @abstractmethod
    def decode(
        self, latents_BCfhw: Float[Tensor, "B C f h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 3 F H W"]:
        """Latents to pixels in [-1, 1]; a chunk decodes to exactly its own number of frames."""

    @abstractmethod
    def velocity(
        self,
        latents_BCfhw: Float[Tensor, "B C f h w"],
        sigma_B: Float[Tensor, " B"],
        prompt_embeds: Float[Tensor, "#B L D"],
        prompt_mask: Tensor | None = None,
        frame_rate: FrameRate = 12.0,
        conditioning_BCfhw: Float[Tensor, "B C f h w"] | None = None,
        whole_timesteps: bool = False,
    ) -> Float[Tensor, "B C f h w"]:
        """x_source - x_target as the network predicts it; the timestep fed to it is 1000 * sigma.

        Args:
            frame_rate: frames a second, of all clips or one per clip [B].
            conditioning_BCfhw: the chunk right before, which the network sees clean (timestep 0) in front of these
                latents, as LTXVCondition does: twice the tokens. FlowFrames needs none.
            whole_timesteps: see `timesteps`.
        """

    @abstractmethod
    def latent_statistics(self) -> tuple[Float[Tensor, "1 C 1 1 1"], Float[Tensor, "1 C 1 1 1"]]:
        """Mean M and deviation S of raw latents z per channel, float32: normalised ones are (z - M) / S.

        On the VAE's device where it holds them (LTX), else on the CPU.
        """

    @abstractmethod
    def default_scheduler(self) -> SchedulerMixin:
        """The diffusers scheduler this backbone is sampled with (LTX: Euler, Wan: UniPC, flow sigmas)."""

    @abstractmethod
    def empty_prompt(self) -> tuple[Float[Tensor, "1 L D"], Tensor | None]:
        """Embedding and mask that stand for the empty prompt where no text encoder is loaded."""
