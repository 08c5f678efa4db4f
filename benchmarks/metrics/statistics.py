"""What is kept of the features of one set of clips: count, sum, sum of products; the features themselves if asked for.

Sums are float64 and add up: over batches, processes, cameras. Those of real clips are computed once and saved under
the hash of their protocol (clip list, frames, resize, extractor), so that other frames can never be taken for them.

Shape legend: D feature width, S samples (a clip of one camera), R rows of a sample.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.frechet import frechet_distance, frechet_distance_of_features
from worldmodel.errors import InputError
from worldmodel.files import is_kept, save_tensors, written_whole


@dataclass(frozen=True)
class FeatureSet:
    """Features of one set of clips, summed up.

    Attributes:
        count: rows in all.
        samples_S, groups_S: number of every sample, and of the group that it is left out with.
        features_SRD: the rows themselves, None where they were not kept; without them nothing can be left out, so there
            is no spread.
    """

    count: int
    sum_D: Float64[Tensor, " D"]
    outer_DD: Float64[Tensor, "D D"]
    samples_S: Int64[Tensor, " S"]
    groups_S: Int64[Tensor, " S"]
    features_SRD: Float[Tensor, "S R D"] | None = None

    @classmethod
    def of(
        cls, features_SRD: Float[Tensor, "S R D"], samples_S: Int64[Tensor, " S"], groups_S: Int64[Tensor, " S"]
    ) -> "FeatureSet":
        """From all rows at once."""
        rows_ND = features_SRD.flatten(0, 1).double()
        return cls(len(rows_ND), rows_ND.sum(0), rows_ND.T @ rows_ND, samples_S, groups_S, features_SRD)

    @property
    def mean_D(self) -> Float64[Tensor, " D"]:
        """Of all rows."""
        return self.sum_D / self.count

    @property
    def covariance_DD(self) -> Float64[Tensor, "D D"]:
        """Over count - 1."""
        outer_DD = self.outer_DD - self.count * torch.outer(self.mean_D, self.mean_D)
        return (outer_DD + outer_DD.T) / (2 * (self.count - 1))

    def without(self, dropped_S: Bool[Tensor, " S"]) -> "FeatureSet":
        """Less some samples, whose features must have been kept."""
        if self.features_SRD is None:
            raise InputError("features of the clips were not kept; use keep_features=True")
        less = FeatureSet.of(self.features_SRD[dropped_S], self.samples_S[dropped_S], self.groups_S[dropped_S])
        left = (values[~dropped_S] for values in (self.samples_S, self.groups_S, self.features_SRD))
        return FeatureSet(self.count - less.count, self.sum_D - less.sum_D, self.outer_DD - less.outer_DD, *left)

    def only(self, kept_S: Bool[Tensor, " S"], rows: slice = slice(None)) -> "FeatureSet":
        """Some samples, and some rows of each, whose features must have been kept."""
        if self.features_SRD is None:
            raise InputError("features of the clips were not kept; use keep_features=True")
        return FeatureSet.of(self.features_SRD[kept_S][:, rows], self.samples_S[kept_S], self.groups_S[kept_S])

    def save(self, folder: Path, protocol: Protocol) -> Path:
        """Write it below `folder`, under the protocol's hash; returns the file."""
        path = reference_path(folder, protocol)
        tensors = {name: value.contiguous() for name, value in _tensors(self).items()}
        with written_whole(path) as part:
            save_tensors(tensors, part, {"protocol": json.dumps(asdict(protocol)), "count": str(self.count)})
        return path


def reference_path(folder: Path, protocol: Protocol) -> Path:
    """Where the statistics of real clips under this protocol are kept."""
    return folder / f"{protocol.extractor}-{protocol.width}-{protocol.hash()[:16]}.safetensors"


def load_reference(folder: Path, protocol: Protocol) -> FeatureSet | None:
    """Saved statistics of real clips under this very protocol; None where there are none.

    Raises:
        InputError: the file was made under another protocol (it was renamed), or cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = reference_path(folder, protocol)
    if not is_kept(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
        made_with, count = json.loads(metadata["protocol"]), int(metadata["count"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: not readable statistics; delete the file, they are then made again") from None
    for name, value in asdict(protocol).items():
        if made_with.get(name) != value:
            raise InputError(f"{path}: made with {name}={made_with.get(name)}, wanted {value}; delete the file")
    return FeatureSet(count=count, **tensors)


def distance(one: FeatureSet, other: FeatureSet) -> float:
    """Fréchet distance of two sets; from the rows themselves where they were kept and are fewer than the dimensions."""
    kept = one.features_SRD is not None and other.features_SRD is not None
    if kept and min(one.count, other.count) <= len(one.sum_D):
        return frechet_distance_of_features(*(features.features_SRD.flatten(0, 1) for features in (one, other)))  # type: ignore[union-attr]
    return frechet_distance(one.mean_D, one.covariance_DD, other.mean_D, other.covariance_DD)


def _tensors(features: FeatureSet) -> dict[str, Any]:
    return {name: value for name, value in vars(features).items() if isinstance(value, Tensor)}
