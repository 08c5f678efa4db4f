"""The nouns of the data path: a pair of chunks as pixels, the same as latents, and a batch of either.

Shape legend: B pairs, N cameras, F observed frames, G future frames, 2 the observed and the future chunk, C colours (3)
of pixels or channels of latents, H height, W width, f h w of latents, L prompt tokens, D prompt width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class PixelPair:
    """One coupling: the observed chunk of N synchronised cameras and the chunk right after it.

    Attributes:
        scene: name of the drive, for example ``scene-0103``.
        cameras: N camera names, in the order of the leading axis of everything below.
        observed_NFCHW, future_NGCHW: RGB frames, uint8.
        times_s: capture times in seconds, observed then future; cameras need not fire in step. NaN where the source
            keeps none, as a frame store does.
        frame_rate: nominal frames per second (12 for nuScenes sweeps).
        intrinsics: pinhole matrices in pixels **of the frames given here** (after crop and resize).
        extrinsics: camera to ego vehicle, metres.
        ego_poses: ego vehicle to global frame at each frame's own time, metres.
        paths: image file behind each frame, N rows of F + G, empty where frames came from a video.
        notes: where the chunk is not the one asked for, and why.
        caption: text of the video; empty where it has none, or none was asked for.
        replaced: whether the pair stands in for one that could not be read.
    """

    scene: str
    cameras: tuple[str, ...]
    observed_NFCHW: UInt8[Tensor, "N F 3 H W"]
    future_NGCHW: UInt8[Tensor, "N G 3 H W"]
    times_s: Float64[np.ndarray, "N F+G"]
    frame_rate: float
    intrinsics: Float64[np.ndarray, "N 3 3"] | None = None
    extrinsics: Float64[np.ndarray, "N 4 4"] | None = None
    ego_poses: Float64[np.ndarray, "N F+G 4 4"] | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = ""
    replaced: bool = False

    def both_chunks(self, camera: int = 0) -> UInt8[Tensor, "2 3 F H W"]:
        """Both chunks of one camera, of equal length, as a VAE takes them: colours before frames."""
        return torch.stack([self.observed_NFCHW[camera], self.future_NGCHW[camera]]).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class LatentPair:
    """A pair as the frozen pretrained model encodes it, normalised: all that an objective needs of it.

    It is one pair, as a latent cache holds it, or B of them stacked, as a training step sees them.

    Attributes:
        mean: [2, C, f, h, w], posterior means of the observed and the future chunk.
        std: [C, f, h, w], deviation of the observed chunk's posterior.
        noise: [C, f, h, w], the future chunk inverted to noise; None where nothing is inverted.
        future_std: [C, f, h, w], deviation of the future chunk's posterior, for conventions that draw the target.
        prompt, prompt_mask: [L, D] and [L], where the network sees captions; the mask where it takes one.
        frame_rate: frames per second of one pair; of several, their batch says it.
    """

    mean: Float[Tensor, "*B 2 C f h w"]
    std: Float[Tensor, "*B C f h w"]
    noise: Float[Tensor, "*B C f h w"] | None = None
    future_std: Float[Tensor, "*B C f h w"] | None = None
    prompt: Float[Tensor, "*B L D"] | None = None
    prompt_mask: Tensor | None = None
    frame_rate: float | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)}

    def each(self, change: Callable[[Tensor], Tensor]) -> "LatentPair":
        """The same pair with every tensor changed, for example moved to a device."""
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self.tensors().items()}
        return replace(self, **changed)

    @classmethod
    def stack(cls, pairs: "Sequence[LatentPair]") -> "LatentPair":
        """B pairs as one, a leading axis added to every tensor; all have the same fields."""
        rows = [pair.tensors() for pair in pairs]
        stacked: dict[str, Any] = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return cls(**stacked)


@dataclass(frozen=True)
class Batch:
    """B training samples, collated: pixels or latents, and what their random numbers follow from.

    Pixels of pairs become latents on the device (`latents` then stands beside them); a latent cache gives latents at
    once. Numbers stay Python's, on the CPU. Every list has B entries, or none where the samples have no such thing.

    Attributes:
        pixels: both chunks, uint8 [B, 2, 3, F, H, W], or single crops [B, 3, F, H, W] for a VAE.
        latents: all pairs stacked.
        frame_rates: frames per second of each.
        captions: text of each.
        seeds: of all random numbers of a sample.
        coins: from [0, 1), the same for all samples of a micro-batch.
        numbers: of each sample among all, the same in every epoch.
        replaced: how many stand in for samples that could not be read.
    """

    pixels: UInt8[Tensor, "B *chunks 3 F H W"] | None = None
    latents: LatentPair | None = None
    frame_rates: tuple[float, ...] = ()
    captions: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    coins: tuple[float, ...] = ()
    numbers: tuple[int, ...] = ()
    replaced: int = 0

    def each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with every tensor changed, for example moved to a device."""
        pixels = None if self.pixels is None else change(self.pixels)
        return replace(self, pixels=pixels, latents=None if self.latents is None else self.latents.each(change))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; a `DataLoader` looks for a method of this name in what it does not know."""
        return self.each(Tensor.pin_memory)
