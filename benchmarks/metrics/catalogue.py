"""Extractors by name, and those that this machine has the weights of."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.i3d import load_i3d
from worldmodel.benchmarks.metrics.inception import load_inception
from worldmodel.benchmarks.metrics.toy_features import TinyFeatures
from worldmodel.benchmarks.metrics.weights import WeightsNotFound
from worldmodel.errors import InputError

LOADERS: dict[str, Callable[..., Extractor]] = {
    "fid": lambda **options: load_inception(resize="tf1", **options),
    "fid-antialias": lambda **options: load_inception(resize="antialias", **options),
    "fvd-styleganv": lambda **options: load_i3d("styleganv", **options),
    "fvd-videogpt": lambda **options: load_i3d("videogpt", **options),
    "fd-tiny": lambda device, **_: TinyFeatures(device),  # ships with the package
}


def open_extractors(
    names: Iterable[str] = tuple(LOADERS),
    paths: Mapping[str, Path] | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Extractor], dict[str, str]]:
    """Load extractors; one whose weights are absent is left out and said to be.

    Args:
        names: keys of `LOADERS`. paths: where the weights of some of them are.
        download: fetch absent weights into torch hub's cache.

    Returns:
        The extractors by name, and by name why the others are not among them.

    Raises:
        InputError: an unknown name, or a file that is not what it is said to be.
    """
    opened, skipped = {}, {}
    for name in names:
        if name not in LOADERS:
            raise InputError(f"metric {name}: unknown; there are {', '.join(LOADERS)}")
        try:
            opened[name] = LOADERS[name](path=(paths or {}).get(name), download=download, device=device)
        except WeightsNotFound as absent:
            skipped[name] = f"skipped: {absent}"
    return opened, skipped
