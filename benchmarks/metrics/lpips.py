"""LPIPS (Zhang et al. 2018): torchmetrics' heads on torchvision's trunks, without needing torchvision.

The heads ship with torchmetrics; the trunks (AlexNet, VGG-16 trained on ImageNet) do not and are looked for by
`weights.find_weights`. Equal to torchmetrics' `LearnedPerceptualImagePatchSimilarity`.

Shape legend: N images, C channels, H height, W width.
"""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from worldmodel.benchmarks.metrics.extractor import full_precision, load_network
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.weights import find_weights
from worldmodel.errors import InputError
from worldmodel.pixels import refuse_other_than_8_bit, signed_from_uint8

# Layers of the trunk in torchvision's order: a convolution (given, made, kernel, stride, padding), R(eLU), P(ool).
Layer = tuple[int, int, int, int, int] | str
ALEX: tuple[Layer, ...] = (
    (3, 64, 11, 4, 2), "R", "P3", (64, 192, 5, 1, 2), "R", "P3",
    (192, 384, 3, 1, 1), "R", (384, 256, 3, 1, 1), "R", (256, 256, 3, 1, 1), "R",
)  # fmt: skip
VGG_WIDTHS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """Distance of two pictures: differences of a trunk's unit-length features, weighted by the heads."""

    def __init__(self, net: str) -> None:
        super().__init__()
        layers = [_layer(layer) for layer in (ALEX if net == "alex" else _vgg_layers())]
        self.net, self.features = net, nn.Sequential(*layers)
        self.taps = TAPS[net]
        self.heads: list[Tensor] = []
        self.made_with = Protocol(f"lpips-{net}")

    def forward(
        self, one_NCHW: Shaped[Tensor, "N 3 H W"], other_NCHW: Shaped[Tensor, "N 3 H W"]
    ) -> Float[Tensor, " N"]:
        """LPIPS of each pair, 0 for equal pictures; raises `InputError` for frames that are not 8-bit."""
        refuse_other_than_8_bit(f"LPIPS[{self.net}]", one_NCHW, other_NCHW)
        with full_precision(one_NCHW.device.type):
            pairs = zip(self._features(one_NCHW), self._features(other_NCHW), self.heads, strict=True)
            layers = [((a - b).square() * head.to(a.device)).sum(dim=1).mean(dim=(1, 2)) for a, b, head in pairs]
        return torch.stack(layers).sum(dim=0)

    def _features(self, images_NCHW: UInt8[Tensor, "N 3 H W"]) -> list[Tensor]:
        shift, scale = (torch.tensor(values, device=images_NCHW.device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        x, features = (signed_from_uint8(images_NCHW) - shift) / scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                features.append(x / (x.square().sum(dim=1, keepdim=True) + 1e-8).sqrt())
        return features


def load_lpips(
    net: str = "alex",
    path: Path | None = None,
    sha256: str | None = None,
    checked: bool = True,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> LPIPS:
    """LPIPS on the trunk `net` ("alex", "vgg"); the rest as `weights.find_weights` takes them.

    Raises:
        WeightsNotFound: the trunk is not on this machine.
        InputError: the file has another content, or lacks a key.
    """
    if net not in TAPS:
        raise InputError(f"lpips={net}: there are {' and '.join(TAPS)}; choose one")
    weights = find_weights(f"lpips-{net}", path, sha256, checked, download)
    with torch.device("meta"):
        network = LPIPS(net)
    load_network(network, weights.path, unused="classifier.")
    heads = _heads_file(net)
    state = torch.load(heads, map_location="cpu", weights_only=True)
    network.heads = [state[f"lin{number}.model.1.weight"] for number in range(len(network.taps))]
    digest = hashlib.sha256(heads.read_bytes()).hexdigest()
    network.made_with = Protocol(f"lpips-{net}, heads {digest[:8]} of torchmetrics", weights.sha256)
    return network.to(device)


def _heads_file(net: str) -> Path:
    import torchmetrics.functional.image as image

    return Path(image.__file__).parent / "lpips_models" / f"{net}.pth"


def _vgg_layers() -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for widths in VGG_WIDTHS:
        for given, made in zip(widths[:-1], widths[1:], strict=True):
            layers += [(given, made, 3, 1, 1), "R"]
        layers.append("P2")
    return tuple(layers[:-1])


def _layer(layer: Layer) -> nn.Module:
    if isinstance(layer, str):
        return nn.ReLU() if layer == "R" else nn.MaxPool2d(int(layer[1]), 2)
    return nn.Conv2d(*layer)
