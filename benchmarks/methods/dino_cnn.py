"""GEM's DINO branch, features of a frame to residuals inside the UNet: layers of our own, and upstream's output read.

GEM adds what its DINOCNN makes of 768 DINOv2 features behind the first two downsamplers (320 and 640 channels), and,
because of its biases, adds something where no features are given as well. How the branch is laid out is not in the
facts that this was written from, so it cannot be filled from the published file. It stands in for the branch's size
and place where weights are random; with the published weights its output for absent features can be given as a file.
Shape legend: B clips, R channels, y x height and width behind a downsampler.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.backbones.weights import Weights
from worldmodel.errors import InputError

FEATURES = 768  # DINOv2-B
OFFICIAL_BLOCKS = ("input_blocks.3", "input_blocks.6")  # the first two downsamplers


class DinoCnn(nn.Module):
    """Features of a frame to residuals behind the first `len(widths)` downsamplers, each half as large as the last."""

    def __init__(self, widths: Sequence[int], features: int = FEATURES) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, widths[0], 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.downs = nn.ModuleList(nn.Conv2d(wide, wider, 3, stride=2, padding=1) for wide, wider in pairs)

    def forward(self, features_BDyx: Float[Tensor, "B D y x"]) -> dict[int, Float[Tensor, "B R ..."]]:
        """Residuals by UNet block; the features have the size behind the first downsampler."""
        x = self.first(features_BDyx)
        residuals = {}
        for at, conv in enumerate(self.convs):
            if at:
                x = self.downs[at - 1](F.silu(x))
            residuals[at] = conv(F.silu(x))
        return residuals


def read_residuals(
    path: Path, widths: Sequence[int], latent_size: tuple[int, int]
) -> dict[int, Float[Tensor, "1 R ..."]]:
    """What upstream's DINOCNN gives for zeros: a file with `input_blocks.3` and `input_blocks.6`, each [R, y, x].

    Raises `InputError` for another key, or a shape that does not fit the UNet's `widths` and latents.
    """
    weights = Weights(path)
    if sorted(weights.names) != sorted(OFFICIAL_BLOCKS):
        raise InputError(f"{path}: holds {', '.join(sorted(weights.names))}; {' and '.join(OFFICIAL_BLOCKS)} expected")
    residuals = {}
    for at, name in enumerate(OFFICIAL_BLOCKS):
        shape = (widths[at], *(side // 2 ** (at + 1) for side in latent_size))
        if weights.shape(name) != shape:
            raise InputError(f"{path}: {name} has shape {list(weights.shape(name))}, {list(shape)} expected")
        residuals[at] = weights.tensor(name).float()[None]
    return residuals
