"""FID's Inception v3 in plain PyTorch, filled from the published state dict, with its four feature widths.

The network is the TensorFlow graph of 2015 that FID was defined with (Heusel et al. 2017), not torchvision's: its
average pools leave out the border and its last block pools by maximum. The state dict is pytorch-fid's and
torch-fidelity's `pt_inception-2015-12-05-6726825d.pth`, 1008 classes.

Two ways to make frames 299 x 299, both in use and not comparable: `tf1`, bilinear as TensorFlow 1 did it
(torch-fidelity), and `antialias`, torchmetrics' default (of 1.8.0 already, the version in FlowC2S's environment).

Shape legend: B clips, F frames, N images, C and K channels given and made, H and h height, W and w width, L and O
pixels of a line before and after; _ is the feature width.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.benchmarks.metrics.extractor import Extractor, FrozenNorm, load_network
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.weights import find_weights
from worldmodel.errors import InputError

WIDTHS = (64, 192, 768, 2048)
SIDE = 299
RESIZE = {"tf1": "TensorFlow-1 bilinear to 299x299", "antialias": "antialiased bilinear to 299x299"}
IMAGES = 32  # at once
Images = Float[Tensor, "N C H W"]
Made = Float[Tensor, "N K h w"]


class Convolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, given: int, out: int, kernel: tuple[int, int], stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(given, out, kernel, stride, padding, bias=False)
        self.bn = FrozenNorm(out, eps=1e-3)

    def forward(self, x: Images) -> Made:
        """Features, not negative."""
        return functional.relu(self.bn(self.conv(x)))


ONE, THREE, FIVE, ROW, COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


class Branches(nn.Module):
    """Chains of convolutions side by side; one of them, `branch_pool`, pools first."""

    def _chain(self, name: str, given: int, *steps: tuple[int, tuple[int, int]]) -> None:
        for number, (out, kernel) in enumerate(steps, start=1):
            self.add_module(f"{name}_{number}" if len(steps) > 1 else name, Convolution(given, out, kernel))
            given = out

    def _run(self, name: str, x: Images) -> Made:
        if name in self._modules:
            return self._modules[name](x)  # type: ignore[misc]
        number = 1
        while f"{name}_{number}" in self._modules:
            x = self._modules[f"{name}_{number}"](x)  # type: ignore[misc]
            number += 1
        return x


class BlockA(Branches):
    """35 x 35: Mixed_5b to 5d."""

    def __init__(self, given: int, pooled: int) -> None:
        super().__init__()
        self._chain("branch1x1", given, (64, ONE))
        self._chain("branch5x5", given, (48, ONE), (64, FIVE))
        self._chain("branch3x3dbl", given, (64, ONE), (96, THREE), (96, THREE))
        self._chain("branch_pool", given, (pooled, ONE))

    def forward(self, x: Images) -> Made:
        """224 + `pooled` channels of the same size."""
        parts = [self._run(name, x) for name in ("branch1x1", "branch5x5", "branch3x3dbl")]
        return torch.cat([*parts, self._run("branch_pool", _average(x))], dim=1)


class BlockB(Branches):
    """35 x 35 to 17 x 17: Mixed_6a."""

    def __init__(self, given: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(given, 384, THREE, stride=2, padded=False)
        self.branch3x3dbl_1 = Convolution(given, 64, ONE)
        self.branch3x3dbl_2 = Convolution(64, 96, THREE)
        self.branch3x3dbl_3 = Convolution(96, 96, THREE, stride=2, padded=False)

    def forward(self, x: Images) -> Made:
        """480 more channels at half the size."""
        return torch.cat([self.branch3x3(x), self._run("branch3x3dbl", x), functional.max_pool2d(x, 3, 2)], dim=1)


class BlockC(Branches):
    """17 x 17: Mixed_6b to 6e."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = ((width, ONE), (width, ROW), (192, COLUMN))
        twice = ((width, ONE), (width, COLUMN), (width, ROW), (width, COLUMN), (192, ROW))
        self._chain("branch1x1", 768, (192, ONE))
        self._chain("branch7x7", 768, *wide)
        self._chain("branch7x7dbl", 768, *twice)
        self._chain("branch_pool", 768, (192, ONE))

    def forward(self, x: Images) -> Made:
        """768 channels of the same size."""
        parts = [self._run(name, x) for name in ("branch1x1", "branch7x7", "branch7x7dbl")]
        return torch.cat([*parts, self._run("branch_pool", _average(x))], dim=1)


class BlockD(Branches):
    """17 x 17 to 8 x 8: Mixed_7a."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(768, 192, ONE)
        self.branch3x3_2 = Convolution(192, 320, THREE, stride=2, padded=False)
        self._chain("branch7x7x3", 768, (192, ONE), (192, ROW), (192, COLUMN))
        self.branch7x7x3_4 = Convolution(192, 192, THREE, stride=2, padded=False)

    def forward(self, x: Images) -> Made:
        """1280 channels at half the size."""
        parts = [self._run("branch3x3", x), self._run("branch7x7x3", x), functional.max_pool2d(x, 3, 2)]
        return torch.cat(parts, dim=1)


class BlockE(Branches):
    """8 x 8: Mixed_7b, and 7c, whose pool takes the maximum."""

    def __init__(self, given: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self._chain("branch1x1", given, (320, ONE))
        self.branch3x3_1 = Convolution(given, 384, ONE)
        self._chain("branch3x3dbl", given, (448, ONE), (384, THREE))
        for name in ("branch3x3_2", "branch3x3dbl_3"):
            self.add_module(f"{name}a", Convolution(384, 384, (1, 3)))
            self.add_module(f"{name}b", Convolution(384, 384, (3, 1)))
        self._chain("branch_pool", given, (192, ONE))

    def forward(self, x: Images) -> Made:
        """2048 channels of the same size."""
        once, twice = self.branch3x3_1(x), self._run("branch3x3dbl", x)
        split = [self._run(f"branch3x3_2{half}", once) for half in "ab"]
        split += [self._run(f"branch3x3dbl_3{half}", twice) for half in "ab"]
        pooled = functional.max_pool2d(x, 3, 1, padding=1) if self.maximum else _average(x)
        return torch.cat([self._run("branch1x1", x), *split, self._run("branch_pool", pooled)], dim=1)


class InceptionV3(nn.Module):
    """FID's network under the published parameter names."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, THREE, stride=2, padded=False)
        self.Conv2d_2a_3x3 = Convolution(32, 32, THREE, padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, THREE)
        self.Conv2d_3b_1x1 = Convolution(64, 80, ONE)
        self.Conv2d_4a_3x3 = Convolution(80, 192, THREE, padded=False)
        for letter, given, pooled in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
            self.add_module(f"Mixed_5{letter}", BlockA(given, pooled))
        self.Mixed_6a = BlockB(288)
        for letter, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            self.add_module(f"Mixed_6{letter}", BlockC(width))
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(2048, 1008)  # in the file; no feature comes from it

    def forward(self, images_N3HW: Float[Tensor, "N 3 299 299"]) -> dict[int, Float[Tensor, "N _"]]:
        """Means over the picture after the stem's two pools, after Mixed_6e and after Mixed_7c, by width."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images_N3HW)))
        taps = [functional.max_pool2d(x, 3, 2)]
        taps += [functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(taps[0])), 3, 2)]
        for last in ("5b 5c 5d 6a 6b 6c 6d 6e", "7a 7b 7c"):
            x = taps[-1]
            for block in last.split():
                x = self._modules[f"Mixed_{block}"](x)  # type: ignore[misc]
            taps.append(x)
        return {width: tap.mean(dim=(2, 3)) for width, tap in zip(WIDTHS, taps, strict=True)}


class Inception(Extractor):
    """One row per frame, at the widths that are printed as FID-64 to FID-2048."""

    title = "FID"

    def __init__(
        self, network: InceptionV3, sha256: str, resize: str = "tf1", widths: tuple[int, ...] = WIDTHS
    ) -> None:
        """Around a loaded network; raises `InputError` unless `resize` is "tf1" or "antialias"."""
        if resize not in RESIZE:
            raise InputError(f"resize={resize}: FID knows tf1 and antialias; choose one")
        self.name, self.network, self.widths, self.resize = "fid-inception", network, widths, resize
        self.made_with = Protocol("fid-inception", sha256, resize=RESIZE[resize], antialias=resize == "antialias")

    def title_of(self, width: int) -> str:
        """`FID-64`: a FID of another width is another figure; with torchmetrics' resize `FID-64[antialias]`."""
        return f"FID-{width}" if self.resize == "tf1" else f"FID-{width}[{self.resize}]"

    def rows(self, frames: int) -> int:
        """One per frame."""
        return frames

    def extract(self, frames_BFCHW: UInt8[Tensor, "B F 3 H W"]) -> dict[int, Float[Tensor, "B F _"]]:
        """Features of every frame."""
        parts = [self._features(images_NCHW) for images_NCHW in frames_BFCHW.flatten(0, 1).split(IMAGES)]
        clips, frames = frames_BFCHW.shape[:2]
        return {width: torch.cat([part[width] for part in parts]).view(clips, frames, width) for width in self.widths}

    def _features(self, images_NCHW: UInt8[Tensor, "N 3 H W"]) -> dict[int, Float[Tensor, "N _"]]:
        pixels = images_NCHW.float()
        if self.resize == "tf1":
            pixels = tensorflow1_bilinear(pixels, SIDE)
        else:
            pixels = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        features: dict[int, Tensor] = self.network((pixels - 128) / 128)
        return features


def load_inception(
    path: Path | None = None,
    sha256: str | None = None,
    resize: str = "tf1",
    widths: tuple[int, ...] = WIDTHS,
    checked: bool = True,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> Inception:
    """FID's extractor; `path`, `sha256`, `checked` and `download` as `weights.find_weights` takes them.

    Raises:
        WeightsNotFound: the weights are not on this machine.
        InputError: the file has another content, or lacks a key.
    """
    weights = find_weights("inception", path, sha256, checked, download)
    with torch.device("meta"):
        network = InceptionV3()
    load_network(network, weights.path)
    return Inception(network.to(device), weights.sha256, resize, widths)


def tensorflow1_bilinear(images_NCHW: Images, side: int) -> Made:
    """Resize as TensorFlow 1 did: pixel i of the result lies at i * in / out; nothing is centred or averaged."""
    height, width = images_NCHW.shape[-2:]
    rows_OH, columns_OW = (_between(length, side).to(images_NCHW.device) for length in (height, width))
    return rows_OH @ images_NCHW @ columns_OW.T


def _between(length: int, side: int) -> Float[Tensor, "O L"]:
    """The weights of `length` pixels in each of `side`."""
    places_O = torch.arange(side) * (length / side)
    before_O = places_O.floor().long()
    part_O = places_O - before_O
    weights_OL = torch.zeros(side, length)
    rows_O = torch.arange(side)
    weights_OL[rows_O, before_O] += 1 - part_O
    weights_OL[rows_O, (before_O + 1).clamp(max=length - 1)] += part_O
    return weights_OL


def _average(x: Images) -> Made:
    return functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
