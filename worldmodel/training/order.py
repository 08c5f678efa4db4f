"""Which samples make which step: a global order that follows from the seed alone.

Resuming needs nothing but the step, and the order is the same for any number of processes. Each sample's random
numbers (sigma, noise, coin, crop) follow from its own seed, so that they do not depend on who computes it either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from worldmodel.errors import InputError


@dataclass(frozen=True)
class Place:
    """One sample of one step: number `number` of the samples of length `group`, with the seed of its randomness."""

    group: int
    number: int
    seed: int


class Order:
    """Epoch after epoch, each in a new random order; every step's samples are of one group.

    Args:
        sizes: samples of each group (each length of chunk).
        global_batch: samples of a step over all processes and accumulated batches.

    Raises:
        InputError: no group has enough samples for one step.
    """

    def __init__(self, sizes: Sequence[int], global_batch: int, seed: int) -> None:
        self.sizes, self.global_batch, self.seed = tuple(sizes), global_batch, seed
        self.steps_per_epoch = sum(size // global_batch for size in sizes)
        if not self.steps_per_epoch:
            raise InputError(
                f"a step takes {global_batch} samples, the data give {sum(sizes)}; use a smaller batch (batch_size, "
                "accumulate, processes) or more data"
            )
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def step(self, step: int) -> list[Place]:
        """Samples of step `step`, counted from 0."""
        epoch, at = divmod(step, self.steps_per_epoch)
        group, numbers = self._epoch(epoch)[at]
        seeds = np.random.SeedSequence((self.seed, step)).generate_state(len(numbers), np.uint64) >> np.uint64(1)
        return [Place(group, number, int(seed)) for number, seed in zip(numbers.tolist(), seeds, strict=True)]

    def _shuffled(self, epoch: int) -> list[tuple[int, Tensor]]:
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((self.seed, epoch, 1)).generate_state(1, np.uint64)[0] >> np.uint64(1))
        )
        steps = [
            (group, numbers)
            for group, size in enumerate(self.sizes)
            for numbers in torch.randperm(size, generator=generator).split(self.global_batch)
            if len(numbers) == self.global_batch
        ]
        return [steps[at] for at in torch.randperm(len(steps), generator=generator).tolist()]


class ShareOfOrder(Sampler[list[Place]]):
    """The batches that one of `processes` takes, from step `first` to before `last`, `accumulate` batches a step."""

    def __init__(self, order: Order, first: int, last: int, accumulate: int, rank: int, processes: int) -> None:
        self.order, self.first, self.last = order, first, last
        self.accumulate, self.rank, self.processes = accumulate, rank, processes

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        size = self.order.global_batch // (self.accumulate * self.processes)
        for step in range(self.first, self.last):
            places = self.order.step(step)
            for batch in range(self.accumulate):
                start = (batch * self.processes + self.rank) * size
                yield places[start : start + size]


class Draws:
    """Random numbers of the rows of a batch, each row's from its own seed.

    Drawn on the CPU, so that they are the same on every device.
    """

    def __init__(self, seeds_B: Sequence[int]) -> None:
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds_B]

    def uniform(self) -> Tensor:
        """Numbers from [0, 1): [B]."""
        return torch.cat([torch.rand(1, generator=row) for row in self.rows])

    def normal_like(self, tensor: Tensor) -> Tensor:
        """Standard normal numbers of the shape, dtype and device of `tensor` [B, ...]."""
        drawn = [torch.randn(tensor.shape[1:], generator=row) for row in self.rows]
        return torch.stack(drawn).to(tensor)
