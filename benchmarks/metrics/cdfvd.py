"""FVD as cd-fvd 0.1.1, the package in FlowC2S's environment, computes it from a folder of videos.

It takes a window of 16 frames of each video, the short side to 256 pixels, a square from the middle, 8 bits, and hands
that to the same I3D (`i3d_pretrained_400.pt`), which squashes it to 224. Which of the possible windows is random there;
here it is the first. Sources: the package's documentation and what its loader does; whether the paper used it is
inferred from its environment alone.

Shape legend: B clips, F frames, f = 16 of them, H height, W width, 3 colours.
"""

import math
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.i3d import I3D, SIDE, load_i3d
from worldmodel.errors import InputError

FRAMES, SHORT = 16, 256
READING = f"first {FRAMES} frames, short side to {SHORT}, centre crop, 8 bits, bilinear squash to {SIDE}x{SIDE}"


class CdFvd(I3D):
    """One row of 400 logits per clip, printed as `FVD[i3d-cdfvd]`."""

    def __init__(self, network: torch.nn.Module, sha256: str) -> None:
        """Around the loaded network of `i3d_pretrained_400.pt`."""
        super().__init__(network, sha256, "videogpt")
        self.name = "i3d-cdfvd"
        self.made_with = Protocol(self.name, sha256, resize=READING, antialias=True)

    def rows(self, frames: int) -> int:
        """One; raises `InputError` below 16 frames."""
        if frames < FRAMES:
            raise InputError(
                f"FVD[{self.name}] of {frames} frames: it takes {FRAMES} of each clip; predict more frames"
            )
        return 1

    def extract(self, frames_BFCHW: UInt8[Tensor, "B F 3 H W"]) -> dict[int, Float[Tensor, "B 1 400"]]:
        """Logits of each clip."""
        return super().extract(middle(frames_BFCHW[:, :FRAMES]))


def middle(frames_BFCHW: UInt8[Tensor, "B f 3 H W"]) -> UInt8[Tensor, "B f 3 256 256"]:
    """The short side to 256 pixels, antialiased, and the square in the middle, its levels truncated to 8 bits."""
    clips, (height, width) = len(frames_BFCHW), frames_BFCHW.shape[-2:]
    scale = SHORT / min(height, width)
    size = [SHORT if side == min(height, width) else math.ceil(side * scale) for side in (height, width)]
    pixels = frames_BFCHW.flatten(0, 1).float() / 255
    pixels = functional.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    top, left = ((side - SHORT) // 2 for side in size)
    square = pixels[..., top : top + SHORT, left : left + SHORT] * 255
    return square.to(torch.uint8).unflatten(0, (clips, -1))


def load_cdfvd(path: Path | None = None, download: bool = False, device: torch.device | str = "cpu") -> CdFvd:
    """From the file of `load_i3d("videogpt")`, which says what it raises."""
    i3d = load_i3d("videogpt", path, download=download, device=device)
    return CdFvd(i3d.network, i3d.made_with.sha256)
