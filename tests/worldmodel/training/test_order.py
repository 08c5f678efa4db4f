"""The order of the samples: every one once an epoch, the same for any number of processes, from any step on."""

import pytest
import torch

from worldmodel.errors import InputError
from worldmodel.training.order import Draws, Place, SampleOrder, ShareOfOrder


def steps(order: SampleOrder, count: int) -> list[list[Place]]:
    return [order.step(number) for number in range(count)]


def test_an_epoch_has_every_sample_once_and_the_next_another_order() -> None:
    order = SampleOrder([12], 4, seed=0)
    epochs = [[place.number for step in range(3 * e, 3 * e + 3) for place in order.step(step)] for e in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1]


def test_it_follows_from_the_seed() -> None:
    assert steps(SampleOrder([50], 4, 3), 30) == steps(SampleOrder([50], 4, 3), 30)
    assert steps(SampleOrder([50], 4, 3), 30) != steps(SampleOrder([50], 4, 4), 30)


def test_a_step_is_of_one_length_and_all_lengths_come() -> None:
    order = SampleOrder([20, 9], 4, seed=1)
    groups = [{place.group for place in step} for step in steps(order, order.steps_per_epoch)]
    assert all(len(group) == 1 for group in groups)
    assert [group.pop() for group in groups].count(1) == 2


def test_seeds_differ_between_samples_and_steps() -> None:
    seeds = [place.seed for step in steps(SampleOrder([8], 4, 0), 10) for place in step]
    assert len(set(seeds)) == 40


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3)])
def test_processes_and_accumulation_share_the_same_steps(accumulate: int, processes: int) -> None:
    order = SampleOrder([40], 12, seed=2)
    shares = [list(ShareOfOrder(order, 1, 5, accumulate, rank, processes)) for rank in range(processes)]
    for step in range(1, 5):
        first = (step - 1) * accumulate
        parts = [share[first + number] for number in range(accumulate) for share in shares]
        assert [place for part in parts for place in part] == order.step(step)
        assert {len(part) for part in parts} == {12 // (accumulate * processes)}


def test_too_few_samples_are_named() -> None:
    with pytest.raises(InputError, match="a step takes 8 samples, the data give 7"):
        SampleOrder([7], 8, 0)


def test_draws_belong_to_the_row_not_to_the_batch() -> None:
    like = torch.zeros(3, 2, 5)
    together, alone = Draws([4, 5, 6]), Draws([5])
    assert torch.equal(together.uniform()[1:2], alone.uniform())
    assert torch.equal(together.normal_like(like)[1:2], alone.normal_like(like[:1]))
    assert len(set(Draws([4, 5, 6]).uniform().tolist())) == 3
