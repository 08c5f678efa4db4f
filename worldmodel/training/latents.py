"""From frames to what a flow is trained on, with the frozen pretrained model (paper Algorithm 1, lines 4 to 6).

Shape legend: B pairs, 2 the observed and the future chunk, F frames, H height, W width, 3 colours; C f h w are
latents, normalised.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone, FrameRate
from worldmodel.flow.inversion import invert
from worldmodel.measure.hashes import weights_hash
from worldmodel.pixels import signed_from_uint8
from worldmodel.training.captions import CaptionEncoder

Latents = dict[str, Tensor]
"""`mean` [B, 2, C, f, h, w]; `std` [B, C, f, h, w] of the observed chunk; where inverted, `noise` [B, C, f, h, w].

Where conventions draw the target, `future_std` [B, C, f, h, w]; where they show captions, `prompt` [B, L, D] and, of
networks that take one, `prompt_mask` [B, L].
"""


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

    def hash_once(self) -> list[str]:
        """sha256 of the VAE and of the network, hashed by the first process of a launch alone and told to the others.

        All processes call it, before anything is trained; each would else spend its seconds on the same billions.
        """
        told: list[str] = ["", ""]
        if PartialState().is_main_process:
            told = [weights_hash(self.backbone.vae), weights_hash(self.backbone.transformer)]
        self.vae_sha256, network = broadcast_object_list(told)
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
    ) -> Latents:
        """Latents and prompts of the pairs, on the frames' device."""
        return self.latents(frames_B23FHW, frame_rates_B) | self.prompts(captions_B)

    def prompts(self, captions_K: Sequence[str]) -> Latents:
        """`prompt` and, where the network takes one, `prompt_mask` of these captions; nothing without captions."""
        if self.captions is None or not captions_K:
            return {}
        prompt = self.captions(captions_K)
        return {"prompt": prompt.embeds_BLD} | ({} if prompt.mask_BL is None else {"prompt_mask": prompt.mask_BL})

    @torch.no_grad()
    def latents(self, frames_B23FHW: UInt8[Tensor, "B 2 3 F H W"], frame_rates_B: Sequence[float]) -> Latents:
        """Latents of the pairs, on the frames' device."""
        video = signed_from_uint8(frames_B23FHW)
        with torch.autocast(video.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            observed, future = self.backbone.encode(video[:, 0]), self.backbone.encode(video[:, 1])
            found = {"mean": torch.stack([observed.mean_BCfhw, future.mean_BCfhw], dim=1), "std": observed.std_BCfhw}
            told = self.backbone.conventions.training
            if told.target == "sample":
                found["future_std"] = future.std_BCfhw
            if self.inversion_steps:
                found["noise"] = self._inverted(
                    future.mean_BCfhw.float(), told.frame_rate or common_rate(frame_rates_B)
                )
        return found

    def _inverted(self, future_BCfhw: Tensor, frame_rate: FrameRate) -> Tensor:
        prompt, mask = self.backbone.empty_prompt()

        def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
            embeds = prompt.to(x).expand(len(x), -1, -1)
            return self.backbone.velocity(x, sigma_B, embeds, mask, frame_rate)

        return invert(velocity, future_BCfhw, self.inversion_steps).x
