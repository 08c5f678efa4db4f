"""FVD's extractor, I3D (Carreira and Zisserman 2017) on Kinetics-400: both files in circulation, behind one interface.

- `videogpt`: `i3d_pretrained_400.pt` of VideoGPT, TATS and GEM, a state dict, in our own plain PyTorch module;
- `styleganv`: `i3d_torchscript.pt` of StyleGAN-V, TorchScript, which is a program: opened only if its sha256 is right.

Features are the 400 logits, averaged over time. Frames are squashed to 224 x 224, bilinear, as by the definition of FVD
(Unterthiner et al. 2018), by TATS and by StyleGAN-V's file itself; centre crops, which others take, give other figures.
One row per clip: up to 16 frames have one temporal position, 17 to 24 two, 41 five, so FVD depends on their number.

Shape legend: B clips, C and K channels given and made, F and f frames, H and h height, W and w width, T temporal
positions of the last layer.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.benchmarks.metrics.extractor import Extractor, FrozenNorm, load_network
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.weights import find_weights
from worldmodel.errors import InputError
from worldmodel.pixels import signed_from_uint8

LOGITS = 400
SIDE = 224
FEWEST_FRAMES = 9
NAMES = {"videogpt": "i3d-videogpt", "styleganv": "i3d-styleganv"}
Video = Float[Tensor, "B C F H W"]
Made = Float[Tensor, "B K f h w"]
Sizes = tuple[int, int, int]
# Channels of each branch: 1x1; 1x1 then 3x3; 1x1 then 3x3; after the pool.
MIXED: dict[str, tuple[int, ...]] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


class Unit(nn.Module):
    """Convolution padded as TensorFlow's SAME, batch norm, ReLU; the last layer is a convolution with bias only."""

    def __init__(self, given: int, out: int, kernel: Sizes = (1, 1, 1), stride: Sizes = (1, 1, 1), last: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(given, out, kernel, stride, bias=last)
        self.bn = None if last else FrozenNorm(out, eps=1e-5)  # the port's; TensorFlow's was 1e-3
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Video) -> Made:
        """Features, not negative but for the last layer."""
        x = self.conv3d(_same(x, self.kernel, self.stride))
        return x if self.bn is None else functional.relu(self.bn(x))


class Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, given: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        three = (3, 3, 3)
        self.b0 = Unit(given, widths[0])
        self.b1a, self.b1b = Unit(given, widths[1]), Unit(widths[1], widths[2], three)
        self.b2a, self.b2b = Unit(given, widths[3]), Unit(widths[3], widths[4], three)
        self.b3b = Unit(given, widths[5])

    def forward(self, x: Video) -> Made:
        """The branches' channels below each other."""
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(_pool(x, (3, 3, 3), (1, 1, 1)))]
        return torch.cat(branches, dim=1)


class I3DNetwork(nn.Module):
    """RGB I3D under the parameter names of `i3d_pretrained_400.pt`."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, (3, 3, 3))
        given = 192
        for name, widths in MIXED.items():
            self.add_module(f"Mixed_{name}", Mixed(given, widths))
            given = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = Unit(given, LOGITS, last=True)

    def forward(self, video_BCFHW: Float[Tensor, "B 3 F 224 224"]) -> Float[Tensor, "B 400"]:
        """Logits, averaged over time, of pixels in [-1, 1]."""
        x = _pool(self.Conv3d_1a_7x7(video_BCFHW), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "4b":
                x = _pool(x, (3, 3, 3), (2, 2, 2))
            if name == "5b":
                x = _pool(x, (2, 2, 2), (2, 2, 2))
            x = self._modules[f"Mixed_{name}"](x)  # type: ignore[misc]
        logits_BCT11 = self.logits(functional.avg_pool3d(x, (2, 7, 7), stride=1))
        return logits_BCT11.mean(dim=(2, 3, 4))


class I3D(Extractor):
    """One row of 400 logits per clip, printed as `FVD[i3d-videogpt]` or `FVD[i3d-styleganv]`."""

    title = "FVD"

    def __init__(self, network: nn.Module, sha256: str, file: str) -> None:
        """Around a loaded network; `file` is a key of `NAMES`."""
        self.name, self.network, self.widths, self.file = NAMES[file], network, (LOGITS,), file
        self.made_with = Protocol(self.name, sha256, resize=f"bilinear squash to {SIDE}x{SIDE}")

    def rows(self, frames: int) -> int:
        """One; raises `InputError` below nine frames, which leave no temporal position."""
        if frames < FEWEST_FRAMES:
            raise InputError(f"FVD of {frames} frames: I3D needs at least {FEWEST_FRAMES}; predict more frames")
        return 1

    def extract(self, frames_BFCHW: UInt8[Tensor, "B F 3 H W"]) -> dict[int, Float[Tensor, "B 1 400"]]:
        """Logits of each clip, one at a time: a clip of 17 frames takes a gigabyte."""
        logits = [self._logits(clip_FCHW[None]) for clip_FCHW in frames_BFCHW]
        return {LOGITS: torch.stack(logits) if logits else torch.zeros(0, 1, LOGITS)}

    def _logits(self, clip_BFCHW: UInt8[Tensor, "1 F 3 H W"]) -> Float[Tensor, "1 400"]:
        logits: Tensor
        pixels_FCHW = clip_BFCHW[0].float()
        if self.file == "styleganv":  # squashes and scales by itself
            with torch.jit.fuser("none"):
                logits = self.network(
                    pixels_FCHW.transpose(0, 1)[None], rescale=True, resize=True, return_features=True
                )
            return logits
        pixels_FCHW = functional.interpolate(pixels_FCHW, (SIDE, SIDE), mode="bilinear", align_corners=False)
        logits = self.network(signed_from_uint8(pixels_FCHW.transpose(0, 1)[None]))
        return logits


def load_i3d(
    file: str = "styleganv",
    path: Path | None = None,
    sha256: str | None = None,
    checked: bool = True,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> I3D:
    """FVD's extractor from one of the two files; the rest as `weights.find_weights` takes them.

    Raises:
        WeightsNotFound: the weights are not on this machine.
        InputError: the file has another content or lacks a key, or TorchScript is to be run unchecked.
    """
    if file not in NAMES:
        raise InputError(f"i3d={file}: there are {' and '.join(NAMES)}; choose one")
    if file == "styleganv" and not checked and sha256 is None:
        raise InputError("i3d_torchscript.pt is a program: it is not run unchecked; give the sha256 of the file")
    weights = find_weights(NAMES[file], path, sha256, checked or file == "styleganv", download)
    network: Any
    if file == "styleganv":
        network = torch.jit.load(str(weights.path), map_location="cpu").eval()
    else:
        with torch.device("meta"):
            network = I3DNetwork()
        load_network(network, weights.path)
    return I3D(network.to(device), weights.sha256, file)


def _same(x: Video, kernel: Sizes, stride: Sizes) -> Made:
    """Zeros around as TensorFlow's SAME: the odd one goes behind."""
    padding: list[int] = []
    for length, size, step in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(size - (step if length % step == 0 else length % step), 0)
        padding = [total // 2, total - total // 2, *padding]
    return functional.pad(x, padding)


def _pool(x: Video, kernel: Sizes, stride: Sizes) -> Made:
    """Maximum, padded with zeros: features are not negative."""
    return functional.max_pool3d(_same(x, kernel, stride), kernel, stride)
