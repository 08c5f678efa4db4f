"""What predictions can be measured with, by name, and which of it this machine has the weights of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from worldmodel.benchmarks.metrics.cdfvd import load_cdfvd
from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.i3d import load_i3d
from worldmodel.benchmarks.metrics.inception import load_inception
from worldmodel.benchmarks.metrics.lpips import LPIPS, load_lpips
from worldmodel.benchmarks.metrics.toy_features import TinyFeatures
from worldmodel.benchmarks.metrics.weights import WeightsNotFound
from worldmodel.errors import InputError

EXTRACTORS: dict[str, Callable[..., Extractor]] = {
    "fid": lambda **options: load_inception(resize="tf1", **options),
    "fid-antialias": lambda **options: load_inception(resize="antialias", **options),
    "fvd-styleganv": lambda **options: load_i3d("styleganv", **options),
    "fvd-videogpt": lambda **options: load_i3d("videogpt", **options),
    "fd-tiny": lambda device, **_: TinyFeatures(device),  # ships with the package
    "fid-torchmetrics": lambda **options: load_inception(resize="antialias", widths=(2048,), **options),
    "fvd-cdfvd": load_cdfvd,
}
BY_NAME_ONLY = ("fid-torchmetrics", "fvd-cdfvd")  # defaults of the packages in FlowC2S's environment
PERCEPTUAL = {"lpips": "alex", "lpips-vgg": "vgg"}
CROSS_VIEW = "cross-view"  # by calibration, without weights
NAMES = (*EXTRACTORS, *PERCEPTUAL, CROSS_VIEW)
AUTO = tuple(name for name in NAMES if name not in BY_NAME_ONLY)


@dataclass
class Metrics:
    """Opened, beside the scores that need no weights.

    Attributes:
        extractors: of features for Fréchet distances, by name. perceptual: LPIPS networks, by name.
        cross_view: whether overlapping cameras are compared.
        skipped: by name, why something that was asked for is not among these.
    """

    extractors: dict[str, Extractor] = field(default_factory=dict)
    perceptual: dict[str, LPIPS] = field(default_factory=dict)
    cross_view: bool = False
    skipped: dict[str, str] = field(default_factory=dict)

    def for_frames(self, frames: int) -> "Metrics":
        """Those that can measure clips of so many predicted frames; in its `skipped`, why the others cannot."""
        extractors, skipped = dict[str, Extractor](), dict[str, str]()
        for name, extractor in self.extractors.items():
            try:
                extractor.rows(frames)
                extractors[name] = extractor
            except InputError as error:
                skipped[name] = str(error)
        return Metrics(extractors, self.perceptual, self.cross_view, skipped)

    @property
    def names(self) -> list[str]:
        """Of all that is there."""
        return sorted([*self.extractors, *self.perceptual, *([CROSS_VIEW] if self.cross_view else [])])


def open_metrics(
    names: Iterable[str] = AUTO,
    paths: Mapping[str, Path] | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> Metrics:
    """Load them; one whose weights are absent is left out and said to be.

    Args:
        names: of `NAMES`. paths: where the weights of some of them are.
        download: fetch absent weights into torch hub's cache.

    Raises:
        InputError: an unknown name, or a file that is not what it is said to be.
    """
    metrics = Metrics()
    for name in names:
        try:
            _open(metrics, name, (paths or {}).get(name), download, device)
        except WeightsNotFound as absent:
            metrics.skipped[name] = f"skipped: {absent}"
    return metrics


def _open(metrics: Metrics, name: str, path: Path | None, download: bool, device: torch.device | str) -> None:
    if name in EXTRACTORS:
        metrics.extractors[name] = EXTRACTORS[name](path=path, download=download, device=device)
    elif name in PERCEPTUAL:
        metrics.perceptual[name] = load_lpips(PERCEPTUAL[name], path, download=download, device=device)
    elif name == CROSS_VIEW:
        metrics.cross_view = True
    else:
        raise InputError(f"metric {name}: unknown; there are {', '.join(NAMES)}")
