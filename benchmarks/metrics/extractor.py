"""A network that turns clips into features, with its name, its hash and how frames become its input.

Shape legend: B clips, F frames, R rows of a clip, _ feature width, H height, W width, 3 colours.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from worldmodel.backbones.weights import Weights, load_strictly
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.pixels import refuse_other_than_8_bit

COUNTER = "num_batches_tracked"  # torch's batch norm may leave it in a file; it is no weight


class Extractor(ABC):
    """Features of clips, one or more rows each, at one or more widths.

    Attributes:
        name: what figures call it.
        network: what computes them; `to` moves it.
        made_with: the protocol of its figures; width, frames and clips are filled in for each.
    """

    name: str
    network: nn.Module
    made_with: Protocol
    widths: tuple[int, ...]
    title: str  # of its Fréchet distance: FID, FVD, FD

    def title_of(self, width: int) -> str:
        """What the Fréchet distance of features of this width is called."""
        return f"{self.title}[{self.name}]"

    @abstractmethod
    def rows(self, frames: int) -> int:
        """Feature vectors of a clip of so many frames; raises `InputError` where it cannot be."""

    @abstractmethod
    def extract(self, frames_BFCHW: UInt8[Tensor, "B F 3 H W"]) -> Mapping[int, Float[Tensor, "B R _"]]:
        """Features by width. Frames are 8-bit, predicted ones only."""

    @torch.no_grad()
    def __call__(self, frames_BFCHW: Shaped[Tensor, "B F 3 H W"]) -> Mapping[int, Float[Tensor, "B R _"]]:
        """`extract` in full float32, whatever the surroundings: TF32 moves features in the third digit.

        Raises:
            InputError: frames that are not 8-bit, or too few or many of them.
        """
        refuse_other_than_8_bit(self.name, frames_BFCHW)
        self.rows(frames_BFCHW.shape[1])
        device = next(iter([*self.network.parameters(), *self.network.buffers()])).device
        with full_precision(device.type):
            return self.extract(frames_BFCHW.to(device))

    def protocol(self, width: int, frames: int, frame_rate: float = 0.0, clips: str = "", sha256: str = "") -> Protocol:
        """What figures of this width are made with; `clips` and its `sha256` are the clip list's."""
        return replace(
            self.made_with, width=width, frames=frames, frame_rate=frame_rate, clips=clips, clips_sha256=sha256
        )

    def to(self, device: torch.device | str) -> "Extractor":
        """Move the network."""
        self.network.to(device)
        return self


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """No autocast, no TF32, in matrix products and convolutions."""
    products = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device_type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = products


def load_network(network: nn.Module, path: Path, unused: str = "") -> None:
    """Fill `network` (built on "meta") with a published state dict, in float32, key by key or not at all.

    Args:
        unused: keys that start so belong to a part of the published network that is not built.

    Raises:
        InputError: the first missing, extra or misshapen key, or a file that is no state dict.
    """
    weights = Weights(path)
    ignored = (name for name in weights.names if name.endswith(COUNTER) or (unused and name.startswith(unused)))
    load_strictly(network, weights, ignore=frozenset(ignored), dtype=torch.float32)
    network.eval().requires_grad_(False)


class FrozenNorm(nn.Module):
    """Batch norm with the statistics that it was trained with, and no others."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.zeros(channels))

    def forward(self, x: Float[Tensor, "B C *sizes"]) -> Float[Tensor, "B C *sizes"]:
        """Normalise with the stored mean and variance."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )
