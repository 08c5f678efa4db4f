"""From frames to what a flow is trained on, with the frozen pretrained model (paper Algorithm 1, lines 4 to 6).

Shape legend: B pairs, 2 the observed and the future chunk, F frames, H height, W width, 3 colours; C f h w are
latents, normalised.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone, FrameRate
from worldmodel.flow.inversion import invert
from worldmodel.provenance import weights_hash

Latents = dict[str, Tensor]
"""`mean` [B, 2, C, f, h, w]; `std` [B, C, f, h, w] of the observed chunk; where inverted, `noise` [B, C, f, h, w]."""


def common_rate(frame_rates_B: Sequence[float]) -> FrameRate:
    """One number where all clips have the same rate: positions are then computed once for the batch."""
    first = frame_rates_B[0]
    return first if all(rate == first for rate in frame_rates_B) else torch.tensor(frame_rates_B)


class LatentEncoder:
    """Encodes both chunks and, with `inversion_steps` above 0, inverts the future one to noise.

    Prompt empty, no guidance. `precision` "bf16" runs the networks under autocast.
    """

    def __init__(self, backbone: Backbone, inversion_steps: int, precision: str) -> None:
        self.backbone, self.inversion_steps, self.precision = backbone, inversion_steps, precision

    @cached_property
    def vae_sha256(self) -> str:
        """Of the weights that encode."""
        return weights_hash(self.backbone.vae)

    @cached_property
    def network_sha256(self) -> str:
        """Of the weights that invert; empty where nothing is inverted."""
        return weights_hash(self.backbone.transformer) if self.inversion_steps else ""

    @torch.no_grad()
    def __call__(self, frames_B23FHW: UInt8[Tensor, "B 2 3 F H W"], frame_rates_B: Sequence[float]) -> Latents:
        """Latents of the pairs, on the frames' device."""
        video = frames_B23FHW.float() / 127.5 - 1
        with torch.autocast(video.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            observed, future = self.backbone.encode(video[:, 0]), self.backbone.encode(video[:, 1])
            found = {"mean": torch.stack([observed.mean_BCfhw, future.mean_BCfhw], dim=1), "std": observed.std_BCfhw}
            if self.inversion_steps:
                found["noise"] = self._inverted(future.mean_BCfhw.float(), common_rate(frame_rates_B))
        return found

    def _inverted(self, future_BCfhw: Tensor, frame_rate: FrameRate) -> Tensor:
        prompt, mask = self.backbone.empty_prompt()

        def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
            embeds = prompt.to(x).expand(len(x), -1, -1)
            return self.backbone.velocity(x, sigma_B, embeds, mask, frame_rate)

        return invert(velocity, future_BCfhw, self.inversion_steps).x
