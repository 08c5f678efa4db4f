"""Which samples make which step: a global order that follows from the seed alone.

Resuming needs nothing but the step, and the order is the same for any number of processes. Each sample's random
numbers (sigma, noise, coin, crop) follow from its own seed, so that they do not depend on who computes it either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from worldmodel.errors import InputError


@dataclass(frozen=True)
class Place:
    """One sample of one step: number `number` of the samples of length `group`, with the seed of its randomness.

    `coin` is a number from [0, 1) that all samples of a micro-batch share, whichever process takes them.
    """

    group: int
    number: int
    seed: int
    coin: float = field(default=0.0, compare=False)


class SampleOrder:
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

    def coins(self, step: int, batches: int) -> list[float]:
        """One number from [0, 1) for each micro-batch of step `step`."""
        drawn: list[float] = (
            np.random.default_rng(np.random.SeedSequence((self.seed, step, 2))).random(batches).tolist()
        )
        return drawn

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

    def __init__(self, order: SampleOrder, first: int, last: int, accumulate: int, rank: int, processes: int) -> None:
        self.order, self.first, self.last = order, first, last
        self.accumulate, self.rank, self.processes = accumulate, rank, processes

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        size = self.order.global_batch // (self.accumulate * self.processes)
        for step in range(self.first, self.last):
            places = self.order.step(step)
            for batch, coin in enumerate(self.order.coins(step, self.accumulate)):
                start = (batch * self.processes + self.rank) * size
                yield [replace(place, coin=coin) for place in places[start : start + size]]


class Draws:
    """Random numbers of the rows of a batch, each row's from its own seed.

    Drawn on the CPU, so that they are the same on every device.

    Args:
        seeds_B: of each row. target_seeds_B: of what its target draws, the same in every epoch.
        coins_B: from [0, 1), where they do not follow from the rows' seeds.
    """

    def __init__(
        self,
        seeds_B: Sequence[int],
        target_seeds_B: Sequence[int] | None = None,
        coins_B: Sequence[float] | None = None,
    ) -> None:
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds_B]
        self._target_seeds_B, self._coins_B = target_seeds_B, coins_B

    def coins(self) -> Tensor:
        """Numbers from [0, 1) that decide about mixing: [B]."""
        return self.uniform() if self._coins_B is None else torch.tensor(self._coins_B)

    def target_normal_like(self, tensor: Tensor) -> Tensor:
        """As `normal_like`, from the targets' own seeds."""
        assert self._target_seeds_B is not None
        return Draws(self._target_seeds_B).normal_like(tensor)

    def normal(self) -> Tensor:
        """Standard normal numbers: [B]."""
        return torch.cat([torch.randn(1, generator=row) for row in self.rows])

    def uniform(self) -> Tensor:
        """Numbers from [0, 1): [B]."""
        return torch.cat([torch.rand(1, generator=row) for row in self.rows])

    def normal_like(self, tensor: Tensor) -> Tensor:
        """Standard normal numbers of the shape, dtype and device of `tensor` [B, ...]."""
        drawn = [torch.randn(tensor.shape[1:], generator=row) for row in self.rows]
        return torch.stack(drawn).to(tensor)
