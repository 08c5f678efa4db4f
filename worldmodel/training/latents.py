"""From frames to what a flow is trained on, with the frozen pretrained model (paper Algorithm 1, lines 4 to 6).

Shape legend: B pairs, 2 the observed and the future chunk, F frames, H height, W width, 3 colours; C f h w are
latents, normalised.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone, FrameRate
from worldmodel.datasets.pairs import LatentPair
from worldmodel.flow.guidance import Prompt
from worldmodel.flow.inversion import invert
from worldmodel.measure.hashes import weights_hash
from worldmodel.pixels import signed_from_uint8
from worldmodel.training.captions import CaptionEncoder


def common_rate(frame_rates_B: Sequence[float]) -> FrameRate:
    """One number where all clips have the same rate: positions are then computed once for the batch."""
    first = frame_rates_B[0]
    return first if all(rate == first for rate in frame_rates_B) else torch.tensor(frame_rates_B)


class LatentEncoder:
    """Encodes both chunks and, with `inversion_steps` above 0, inverts the future one to noise.

    Prompt empty, no guidance. `precision` "bf16" runs the networks under autocast. What it gives follows the backbone's
    conventions. How the published code inverted is not published: as here, with its positions in training.

    Args:
        captions: embeds each pair's caption; None where the network sees the empty prompt.
    """

    def __init__(
        self, backbone: Backbone, inversion_steps: int, precision: str, captions: CaptionEncoder | None = None
    ) -> None:
        self.backbone, self.inversion_steps, self.precision = backbone, inversion_steps, precision
        self.captions = captions

    @property
    def device(self) -> torch.device:
        """Where the model is, and where it takes frames."""
        device: torch.device = next(self.backbone.vae.parameters()).device
        return device

    def hash_once(self) -> list[str]:
        """sha256 of the VAE and of the network, hashed by the first process of a launch alone and told to the others.

        All processes call it, before anything is trained; each would else spend its seconds on the same billions.
        """
        hashes = ["", ""]
        if PartialState().is_main_process:
            hashes = [weights_hash(self.backbone.vae), weights_hash(self.backbone.transformer)]
        self.vae_sha256, network = broadcast_object_list(hashes)
        self.network_sha256 = network if self.inversion_steps else ""
        return [self.vae_sha256, network]

    @cached_property
    def vae_sha256(self) -> str:
        """Of the weights that encode."""
        return weights_hash(self.backbone.vae)

    @cached_property
    def network_sha256(self) -> str:
        """Of the weights that invert; empty where nothing is inverted."""
        return weights_hash(self.backbone.transformer) if self.inversion_steps else ""

    def __call__(
        self,
        frames_B23FHW: UInt8[Tensor, "B 2 3 F H W"],
        frame_rates_B: Sequence[float],
        captions_B: Sequence[str] = (),
    ) -> LatentPair:
        """Latents and prompts of the pairs, on the frames' device."""
        latents, prompt = self.latents(frames_B23FHW, frame_rates_B), self.prompts(captions_B)
        return latents if prompt is None else replace(latents, prompt=prompt.embeds_BLD, prompt_mask=prompt.mask_BL)

    def prompts(self, captions_K: Sequence[str]) -> Prompt | None:
        """These captions as the network sees them; None where it sees the empty prompt."""
        return self.captions(captions_K) if self.captions is not None and captions_K else None

    @torch.no_grad()
    def latents(self, frames_B23FHW: UInt8[Tensor, "B 2 3 F H W"], frame_rates_B: Sequence[float]) -> LatentPair:
        """Latents of the pairs, stacked, on the frames' device."""
        video, training = signed_from_uint8(frames_B23FHW), self.backbone.conventions.training
        with torch.autocast(video.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            observed, future = self.backbone.encode(video[:, 0]), self.backbone.encode(video[:, 1])
            noise_BCfhw = None
            if self.inversion_steps:
                rate = training.frame_rate or common_rate(frame_rates_B)
                noise_BCfhw = self._inverted(future.mean_BCfhw.float(), rate)
            return LatentPair(
                mean=torch.stack([observed.mean_BCfhw, future.mean_BCfhw], dim=1),
                std=observed.std_BCfhw,
                noise=noise_BCfhw,
                future_std=future.std_BCfhw if training.target == "sample" else None,
            )

    def _inverted(self, future_BCfhw: Tensor, frame_rate: FrameRate) -> Tensor:
        prompt, mask = self.backbone.empty_prompt()

        def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
            embeds = prompt.to(x).expand(len(x), -1, -1)
            return self.backbone.velocity(x, sigma_B, embeds, mask, frame_rate)

        return invert(velocity, future_BCfhw, self.inversion_steps).x
