"""What the pipeline itself computes in float32, at every point where an artifact is compared with it.

Shape legend: B clips, F frames, H height, W width, 3 colours; C f h w latents; N steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from worldmodel.export.source import ExportSource
from worldmodel.flow.guidance import GuidedVelocity, Prompt
from worldmodel.flow.solvers import Velocity, integrate
from worldmodel.pixels import signed_from_uint8, to_uint8, unit_from_signed


@dataclass(frozen=True)
class Run:
    """One prediction in N steps.

    Attributes:
        states, sigmas, velocities: N each: what the guided network saw, and what it answered.
        reached: predicted latents.
        frames: decoded, as `FlowFramesPipeline` gives them.
    """

    states: list[Float32[np.ndarray, "B C f h w"]]
    sigmas: list[float]
    velocities: list[Float32[np.ndarray, "B C f h w"]]
    reached: Float32[np.ndarray, "B C f h w"]
    frames: UInt8[np.ndarray, "B F H W 3"]


@dataclass(frozen=True)
class Reference:
    """One batch of clips: its latents, and its predictions by number of steps."""

    observed: UInt8[np.ndarray, "B F H W 3"]
    latents: Float32[np.ndarray, "B C f h w"]
    runs: dict[int, Run]


@torch.no_grad()
def reference_of(
    source: ExportSource, observed_BFHWC: UInt8[np.ndarray, "B F H W 3"], steps: Sequence[int]
) -> Reference:
    """From the original modules, none of which was rewritten for export."""
    backbone = source.pipeline.backbone
    pixels_BCFHW = signed_from_uint8(torch.from_numpy(observed_BFHWC).permute(0, 4, 1, 2, 3))
    latents = source.pipeline.source_latents(backbone, pixels_BCFHW, vae_batch_size=1)
    velocity = _guided(source, len(latents))
    runs = {count: _run(source, velocity, latents, count) for count in steps}
    return Reference(observed_BFHWC, latents.numpy(), runs)


def _guided(source: ExportSource, clips: int) -> Velocity:
    backbone, (*against, condition) = source.pipeline.backbone, source.prompts.prompts
    return GuidedVelocity(
        lambda x, sigma_B, text: backbone.velocity(
            x, sigma_B, text.embeds_BLD, text.mask_BL, source.chunk.told_rate, None, backbone.whole_timesteps
        ),
        _repeated(condition, clips),
        _repeated(against[0], clips) if against else None,
        source.prompts.scale,
    )


def _repeated(prompt: Prompt, clips: int) -> Prompt:
    mask = None if prompt.mask_BL is None else prompt.mask_BL[:1].expand(clips, -1)
    return Prompt(prompt.embeds_BLD[:1].expand(clips, -1, -1), mask)


def _run(source: ExportSource, velocity: Velocity, latents: Tensor, steps: int) -> Run:
    states, sigmas, velocities = [], [], []

    def noted(x: Tensor, sigma_B: Tensor) -> Tensor:
        velocities.append(velocity(x, sigma_B))
        states.append(x.numpy())
        sigmas.append(float(sigma_B[0]))
        return velocities[-1]

    first_sigma = source.pipeline.backbone.first_sigma
    reached = integrate(noted, latents, source.pipeline.scheduler, steps, first_sigma=first_sigma).x
    return Run(states, sigmas, [answer.numpy() for answer in velocities], reached.numpy(), _frames(source, reached))


def _frames(source: ExportSource, latents: Tensor) -> UInt8[np.ndarray, "B F H W 3"]:
    backbone = source.pipeline.backbone
    pixels_BCFHW = torch.cat([backbone.decode(clip).float() for clip in latents.split(1)])
    return to_uint8(unit_from_signed(pixels_BCFHW)).permute(0, 2, 3, 4, 1).numpy()
