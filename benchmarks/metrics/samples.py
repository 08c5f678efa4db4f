"""Numbers per sample that survive batches, processes and padding: one row per clip of one camera.

`accelerate` pads the last batch with samples that were scored already. Every sample therefore has a number of its own;
rows are put in the order of these numbers, and of those with one number only the first counts.

Shape legend: S samples, V values of a sample.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from worldmodel.errors import InputError

MetricT = TypeVar("MetricT", bound=Metric)


class SampleTable(Metric):
    """A metric whose state is a table: sample number, group number, values. Subclasses fill it with `add`."""

    is_differentiable = False
    full_state_update = False
    numbers: list[Tensor]
    groups: list[Tensor]
    values: list[Tensor]

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        for name in ("numbers", "groups", "values"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def add(
        self, values_SV: Float[Tensor, "S V"], samples_S: Int64[Tensor, " S"], groups_S: Int64[Tensor, " S"] | None
    ) -> None:
        """Add rows; without `groups_S` every sample is a group of its own."""
        self.numbers.append(samples_S.to(self.device))
        self.groups.append((samples_S if groups_S is None else groups_S).to(self.device))
        self.values.append(values_SV.double().to(self.device))

    def table(self) -> tuple[Int64[Tensor, " S"], Int64[Tensor, " S"], Float64[Tensor, "S V"]]:
        """Numbers, groups and values of all processes on the CPU, in the order of the numbers, each once.

        Raises:
            InputError: no sample was added, or two different samples have one number.
        """
        with synced(self):
            numbers, groups, values = (joined(rows, self._empty(name)) for name, rows in self.metric_state.items())
        if not len(numbers):
            raise InputError(f"{type(self).__name__}: no clip was scored; the clip list is empty")
        kept_S = first_of_each(numbers)
        same_S = torch.searchsorted(numbers[kept_S], numbers)
        if not torch.allclose(values, values[kept_S][same_S], rtol=1e-3, atol=1e-3, equal_nan=True):
            raise InputError(f"{type(self).__name__}: different clips have one sample number; give each its own")
        return numbers[kept_S], groups[kept_S], values[kept_S]

    def _empty(self, name: str) -> Tensor:
        if name == "values":
            return torch.zeros(0, self.width, dtype=torch.float64, device=self.device)
        return torch.zeros(0, dtype=torch.int64, device=self.device)

    def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
        for name in self._reductions:
            rows = gathered(getattr(self, name), self._empty(name), process_group or self.process_group)
            setattr(self, name, [rows])


@contextmanager
def synced(metric: Metric) -> Iterator[None]:
    """With the state of all processes, as inside `compute`; and as it was afterwards."""
    if metric._is_synced:
        yield
    else:
        with metric.sync_context(should_sync=metric.sync_on_compute):
            yield


def alone(metric: MetricT) -> MetricT:
    """The metric, which asks no other process from now on: for one process that adds up the clips of all."""
    metric.sync_on_compute = False
    return metric


def first_of_each(numbers_S: Int64[Tensor, " S"]) -> Int64[Tensor, " T"]:
    """Where each number stands first, in the order of the numbers."""
    sorted_S, places_S = torch.sort(numbers_S, stable=True)
    is_new = torch.ones_like(sorted_S, dtype=torch.bool)
    is_new[1:] = sorted_S[1:] != sorted_S[:-1]
    return places_S[is_new]


def joined(rows: list[Tensor], empty: Tensor) -> Tensor:
    """Rows of all batches below each other, on the CPU."""
    return torch.cat([empty, *rows]).cpu()


def gathered(rows: list[Tensor], empty: Tensor, process_group: Any) -> Tensor:
    """Rows of all processes below each other, however many each has.

    `empty` has the shape and type of no rows: torchmetrics' own gathering makes it up, and then processes disagree.
    """
    from torchmetrics.utilities.distributed import gather_all_tensors

    return torch.cat(gather_all_tensors(torch.cat([empty, *rows]), group=process_group))
