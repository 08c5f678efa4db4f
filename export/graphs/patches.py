"""Taking pixels apart into patches and putting them together as convolutions with ones: what LTX's VAE begins and ends
with. The same numbers, exactly.

ONNX Runtime moves pixels one by one where axes of the patch's size are transposed (40 of 220 ms of a medium encoder on
two cores); a convolution moves them in blocks.

Shape legend: B clips, F frames, H W pixels, p side of a patch, h = H / p, w = W / p, K = 3 * p * p values of a patch in
diffusers' order: colour, column, row.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def ones_of_patches(patch: int) -> Float[Tensor, "K 3 p p"]:
    """1 where a patch's value comes from."""
    values = torch.eye(3 * patch * patch).view(-1, 3, patch, patch)
    return values.transpose(2, 3).contiguous()


class ToPatches(nn.Module):
    """Pixels to patches."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        weight = ones_of_patches(patch)
        self.convolution = nn.Conv2d(3, len(weight), patch, stride=patch, bias=False)
        self.convolution.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, pixels: Float[Tensor, "B 3 F H W"]) -> Float[Tensor, "B K F h w"]:
        return by_frame(self.convolution, pixels)


class FromPatches(nn.Module):
    """Patches to pixels."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        weight = ones_of_patches(patch)
        self.convolution = nn.ConvTranspose2d(len(weight), 3, patch, stride=patch, bias=False)
        self.convolution.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, patches: Float[Tensor, "B K F h w"]) -> Float[Tensor, "B 3 F H W"]:
        return by_frame(self.convolution, patches)


def by_frame(convolution: nn.Module, video: Tensor) -> Tensor:
    """A convolution of pictures on each frame of [B, c, F, H, W]."""
    pictures = video.transpose(1, 2).flatten(0, 1)
    return convolution(pictures).unflatten(0, (-1, video.shape[2])).transpose(1, 2)
