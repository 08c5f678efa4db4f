"""GEM's pyramid: the frames of a window are denoised one behind the other, and a clean one makes room for a new one.

Source: GEM `sampling.py`, `EulerEDMSamplerDynamicPyramid`. Each frame of the first window starts `stagger` evaluations
after the one before it; each later frame takes the place of a frame that has become clean and starts one evaluation
after that. So the noise levels of all frames at all evaluations are known beforehand, and NFE follows from them:
98 for 25 frames, 2 F + 49 for F of 26 to 50 (with 50 steps and windows of 25).
Shape legend: B clips, F frames, W frames of a window, C channels, h w latent height and width, S noise levels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldmodel.benchmarks.methods.edm import edm_sigmas, replaced
from worldmodel.errors import InputError

WINDOW = 25
LOWEST, HIGHEST = 0.002, 150.0

WindowDenoise = Callable[[Tensor, Tensor, slice], Tensor]
"""denoise(x [B, W, C, h, w], sigma [B, W], which frames) -> the clean latents that the network sees in x"""


@dataclass(frozen=True)
class Pyramid:
    """When which frame is denoised.

    Attributes:
        frames: in all. steps: evaluations that each frame takes part in between noise and clean. window: the most
            frames that the network sees at once.
    """

    frames: int
    steps: int = 50
    window: int = WINDOW

    def __post_init__(self) -> None:
        """Raises `InputError` where several frames would become clean at once while others wait for their place."""
        if self.frames > self.window > self.steps:
            raise InputError(f"steps={self.steps}: the pyramid of {self.window} frames needs at least as many steps")

    @property
    def starts(self) -> list[int]:
        """The evaluation before which each frame is pure noise."""
        starts = [frame * (self.steps // self.window) for frame in range(min(self.frames, self.window))]
        for frame in range(self.window, self.frames):
            starts.append(starts[frame - self.window] + self.steps + 1)
        return starts

    @property
    def nfe(self) -> int:
        """Evaluations until the last frame is clean."""
        return self.starts[-1] + self.steps

    def position(self, evaluation: int) -> int:
        """The first frame of the window."""
        clean = sum(start + self.steps <= evaluation for start in self.starts)
        return min(clean, max(0, self.frames - self.window))

    def levels(self, evaluation: int) -> Int[Tensor, " F"]:
        """How many steps each frame has behind it."""
        return (evaluation - torch.tensor(self.starts)).clamp(0, self.steps)


def pyramid_euler(
    denoise: WindowDenoise,
    noise_BFChw: Float[Tensor, "B F C h w"],
    pyramid: Pyramid,
    given_BFChw: Float[Tensor, "B F C h w"],
    given_F: Float[Tensor, " F"],
    clean: Callable[[Float[Tensor, "B C h w"]], None] = lambda latents: None,
) -> Float[Tensor, "B F C h w"]:
    """From standard normal noise to latents, the given frames put in place before every evaluation and at the end.

    `clean` is called with each frame that leaves the window, before the next evaluation.
    """
    sigmas_S = edm_sigmas(pyramid.steps, LOWEST, HIGHEST).to(noise_BFChw.device)
    x_BFChw = noise_BFChw * (1 + sigmas_S[0] ** 2).sqrt()
    sigmas_S = sigmas_S + LOWEST  # clean frames keep the lowest level, by which can be divided
    batch, at = len(x_BFChw), 0
    for evaluation in range(pyramid.nfe):
        x_BFChw = replaced(x_BFChw, given_BFChw, given_F)
        if pyramid.position(evaluation) > at:
            clean(x_BFChw[:, at])
            at += 1
        seen = slice(at, at + min(pyramid.window, pyramid.frames))
        sigma_W, next_W = (sigmas_S[pyramid.levels(when)[seen]] for when in (evaluation, evaluation + 1))
        window_BWChw = x_BFChw[:, seen]
        clean_BWChw = denoise(window_BWChw, sigma_W.expand(batch, -1), seen)
        slope_BWChw = (window_BWChw - clean_BWChw) / sigma_W[:, None, None, None]
        moved_BWChw = window_BWChw + (next_W - sigma_W)[:, None, None, None] * slope_BWChw
        x_BFChw = torch.cat([x_BFChw[:, :at], moved_BWChw, x_BFChw[:, seen.stop :]], dim=1)
    return replaced(x_BFChw, given_BFChw, given_F)
