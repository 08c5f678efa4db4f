"""`FrechetDistance`: how far the features of predicted clips lie from those of real ones, as a streaming metric.

Which features makes the name: Inception's give FID, I3D's give FVD, others must be called otherwise.
Rows are features of one frame (FID) or one clip (FVD); samples are clips of one camera.

Shape legend: B samples of a batch, S all samples, R rows of a sample, D feature width.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from worldmodel.benchmarks.metrics.figure import MetricFigure, Protocol
from worldmodel.benchmarks.metrics.samples import first_of_each, gathered, joined, synced
from worldmodel.benchmarks.metrics.spread import GROUPS, jackknife
from worldmodel.benchmarks.metrics.statistics import FeatureSet, distance
from worldmodel.errors import InputError

ENOUGH = 1000  # clips; with fewer the value is mostly its own bias
REAL, PREDICTED = "real", "predicted"
NUMBERS = ("samples", "groups")


class FrechetDistance(Metric):
    """Fréchet distance between features of real and of predicted clips.

    The state is n (int64), sum f and sum f f^T (float64) of both sets, added up over processes by `all_reduce`;
    torchmetrics' own way gathers them all on each, 462 against 103 MB at width 2048 on four processes.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        rows: int = 1,
        keep_features: bool = True,
        reference: FeatureSet | None = None,
        **options: Any,
    ) -> None:
        """A distance with nothing in it yet.

        Args:
            name: how figures are called, for example ``FID-64``.
            protocol: what features are made with; `protocol.width` is their number.
            rows: feature vectors of one clip.
            keep_features: keep every row as well (in float32, on the CPU; 17 frames of 2,000 clips at width
                2048: 279 MB). Only then is there a spread, and padding is recognised and dropped.
            reference: statistics of the real clips, had before; `update(real=True)` is then refused.
        """
        super().__init__(**options)
        self.name, self.protocol, self.rows = name, protocol, rows
        self.keep_features, self.reference = keep_features, reference
        width = protocol.width
        for kind in (REAL, PREDICTED):
            self.add_state(f"{kind}_count", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{kind}_sum", torch.zeros(width, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{kind}_outer", torch.zeros(width, width, dtype=torch.float64), dist_reduce_fx="sum")
            for table in ("samples", "groups", "features"):
                self.add_state(f"{kind}_{table}", [], dist_reduce_fx="cat")

    def update(
        self,
        features_BRD: Float[Tensor, "B R D"],
        real: bool,
        samples_B: Int64[Tensor, " B"],
        groups_B: Int64[Tensor, " B"] | None = None,
    ) -> None:
        """Add the features of some clips.

        Args:
            samples_B: a number that this clip of this camera alone has; the same for its truth and its prediction.
            groups_B: clips that are left out together for the spread (the number of the drive); default: each alone.

        Raises:
            InputError: features of another width or not finite, or real ones although a reference was given.
        """
        kind, (_, *shape) = REAL if real else PREDICTED, features_BRD.shape
        if real and self.reference is not None:
            raise InputError(f"{self.name}: the real clips' statistics are given; leave out the real clips")
        if shape != [self.rows, self.protocol.width]:
            raise InputError(f"{self.name}: features of shape {shape}; {[self.rows, self.protocol.width]} is expected")
        if not bool(torch.isfinite(features_BRD).all()):
            raise InputError(f"{self.name}: features of {kind} clips are not finite; look at their frames")
        rows_ND = features_BRD.flatten(0, 1).to(self.device, torch.float64)
        self._add(f"{kind}_count", torch.tensor(len(rows_ND), device=self.device))
        self._add(f"{kind}_sum", rows_ND.sum(0))
        self._add(f"{kind}_outer", rows_ND.T @ rows_ND)
        getattr(self, f"{kind}_samples").append(samples_B.to(self.device))
        getattr(self, f"{kind}_groups").append((samples_B if groups_B is None else groups_B).to(self.device))
        if self.keep_features:
            getattr(self, f"{kind}_features").append(features_BRD.float().cpu())

    def compute(self) -> Float64[Tensor, ""]:
        """The distance.

        Raises:
            InputError: fewer than two clips in a set.
        """
        return torch.tensor(distance(*self._sets()), dtype=torch.float64)

    def figure(self) -> MetricFigure:
        """The distance with its spread and all that it was made with; the same on every process.

        Raises:
            InputError: fewer than two clips in a set.
        """
        real, predicted = self.sets()
        value = distance(real, predicted)
        protocol, clips = replace(self.protocol, covariance="1/(N-1)"), len(predicted.samples_S)
        figure = MetricFigure(self.name, value, "lower", protocol, clips, rows=predicted.count, remarks=_remarks(clips))
        figure = replace(figure, floor=floor_of(real))
        spread = jackknife_of(value, real, predicted)
        if spread is None:
            return figure
        kind = "jackknife" if real.features_SRD is not None else "jackknife of the predicted clips alone"
        return replace(figure, jackknife=spread[0], spread=spread[1], spread_kind=kind)

    def sets(self) -> tuple[FeatureSet, FeatureSet]:
        """Real and predicted features of all processes; raises as `compute` does."""
        with synced(self):
            return self._sets()

    def real_set(self) -> FeatureSet:
        """Statistics of the real clips of all processes, to be saved as a reference."""
        if self.reference is not None:
            return self.reference
        with synced(self):
            return self._set(REAL)

    def _sets(self) -> tuple[FeatureSet, FeatureSet]:
        real, predicted = self.reference or self._set(REAL), self._set(PREDICTED)
        fewest = min(len(real.samples_S), len(predicted.samples_S))
        if fewest < 2:
            raise InputError(f"{self.name}: needs at least 2 clips of each kind, {fewest} given; take a longer list")
        if fewest < ENOUGH:
            warnings.warn(f"{self.name}: {_few(fewest)}", stacklevel=2)
        return real, predicted

    def _set(self, kind: str) -> FeatureSet:
        samples_S, groups_S = (joined(getattr(self, f"{kind}_{name}"), self._empty(name)) for name in NUMBERS)
        first_S = first_of_each(samples_S)
        if self.keep_features:
            features_SRD = joined(getattr(self, f"{kind}_features"), self._empty("features").cpu())
            return FeatureSet.of(features_SRD[first_S], samples_S[first_S], groups_S[first_S])
        if len(first_S) < len(samples_S):
            raise InputError(f"{self.name}: a clip was added twice; leave out padding, or use keep_features=True")
        count, sum_D, outer_DD = (getattr(self, f"{kind}_{name}").cpu() for name in ("count", "sum", "outer"))
        return FeatureSet(int(count), sum_D, outer_DD, samples_S, groups_S)

    def _add(self, name: str, more: Tensor) -> None:
        setattr(self, name, getattr(self, name) + more)

    def _empty(self, table: str) -> Tensor:
        if table == "features":
            return torch.zeros(0, self.rows, self.protocol.width, device=self.device)
        return torch.zeros(0, dtype=torch.int64, device=self.device)

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        group = process_group or self.process_group
        for name, default in self._defaults.items():
            state = getattr(self, name)
            if isinstance(default, Tensor):
                summed = state.clone()
                torch.distributed.all_reduce(summed, group=group)
                setattr(self, name, summed)
            elif self.keep_features or not name.endswith("features"):
                rows = [tensor.to(self.device) for tensor in state]
                setattr(self, name, [gathered(rows, self._empty(name.partition("_")[2]), group)])


def jackknife_of(value: float, real: FeatureSet, predicted: FeatureSet) -> tuple[float, float] | None:
    """Estimate without bias and standard error; None where features were not kept or there are too few groups."""
    left_out = leave_out(real, predicted)
    return None if left_out is None else jackknife(value, *left_out)


def leave_out(real: FeatureSet, predicted: FeatureSet) -> tuple[Callable[[int], float], int] | None:
    """The distance without group 0, 1, ..., and the number of groups.

    Groups are left out of both sets if the real features were kept, else of the predicted alone. None where the
    predicted ones were not, or where fewer than two clips would be left.
    """
    if predicted.features_SRD is None:
        return None
    sets = [predicted] if real.features_SRD is None else [real, predicted]
    numbers = torch.cat([features.groups_S for features in sets]).unique()
    groups = min(GROUPS, len(numbers))
    turns = [torch.searchsorted(numbers, features.groups_S) % groups for features in sets] if groups > 1 else []
    if not turns or min(len(turn) - int(turn.bincount().max()) for turn in turns) < 2:
        return None

    def without(group: int) -> float:
        left = [features.without(turn == group) for features, turn in zip(sets, turns, strict=True)]
        return distance(left[0] if len(left) == 2 else real, left[-1])

    return without, groups


def floor_of(real: FeatureSet) -> float | None:
    """What two sets of so many real clips would score: half the distance between the halves, since it goes as 1/N.

    None where the real features were not kept, or a half has fewer than two clips.
    """
    if real.features_SRD is None:
        return None
    odd_S = torch.searchsorted(real.groups_S.unique(), real.groups_S) % 2 == 1
    halves = [real.without(odd_S), real.without(~odd_S)]
    if min(len(half.samples_S) for half in halves) < 2:
        return None
    return distance(*halves) / 2


def _remarks(clips: int) -> tuple[str, ...]:
    return (_few(clips),) if clips < ENOUGH else ()


def _few(clips: int) -> str:
    return f"{clips} clips, below {ENOUGH} the value is mostly bias: compare at equal N only"
