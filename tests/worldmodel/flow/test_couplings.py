"""Which source belongs to which target."""

import sys
from itertools import permutations

import pytest
import torch

from worldmodel.errors import InputError, MissingDependency
from worldmodel.flow.couplings import (
    cyclic_permutation,
    independent,
    inherent,
    minibatch_optimal_transport,
    squared_distances,
    target_inverted,
    transport_plan,
)


def chunks(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    observed = torch.arange(batch, dtype=torch.float32).reshape(-1, 1, 1, 1, 1).expand(-1, 2, 3, 2, 2)
    return observed, observed + 100


def test_inherent_keeps_consecutive_chunks_together():
    observed, future = chunks(4)
    coupling = inherent(observed, future)
    assert torch.equal(coupling.x_target - coupling.x_source, torch.full_like(observed, 100))


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_independent_takes_every_source_from_another_video(batch):
    observed, future = chunks(batch)
    for seed in range(20):
        coupling = independent(observed, future, torch.Generator().manual_seed(seed))
        assert torch.equal(coupling.x_target, future)
        assert not ((coupling.x_target - coupling.x_source) == 100).any()
        used = coupling.x_source[:, 0, 0, 0, 0].sort().values
        assert torch.equal(used, torch.arange(batch, dtype=torch.float32)), "each source serves once"


def test_independent_gives_each_other_video_equally_often():
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(4, 4)
    for _ in range(6000):
        counts[torch.arange(4), cyclic_permutation(4, generator)] += 1
    assert torch.equal(counts.diagonal(), torch.zeros(4))
    others = counts[~torch.eye(4, dtype=torch.bool)]
    assert (others - 2000).abs().max() < 200


def test_independent_needs_another_video():
    with pytest.raises(InputError, match="batch size of at least 2"):
        independent(*chunks(1))


def test_target_inversion_mixes_whole_rows_with_probability_rho():
    observed, future = chunks(2000)
    noise, std = torch.full_like(observed, 3.0), torch.full_like(observed, 0.5)
    source, target = target_inverted(
        observed, std, future, noise, 0.7, torch.rand(len(observed), generator=torch.Generator().manual_seed(0))
    )
    assert torch.equal(target, future)
    added = (source - observed).flatten(1)
    assert ((added == 1.5).all(1) | (added == 0).all(1)).all()
    assert (added[:, 0] == 1.5).float().mean().item() == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize(("rho", "added"), [(0, 0.0), (1, 1.5)])
def test_target_inversion_at_its_ends(rho, added):
    observed, future = chunks(3)
    coupling = target_inverted(observed, torch.full_like(observed, 0.5), future, torch.full_like(observed, 3.0), rho)
    assert torch.equal(coupling.x_source, observed + added)


def test_rho_is_a_probability():
    with pytest.raises(InputError, match="rho=1.5"):
        target_inverted(*chunks(2), *chunks(2), rho=1.5)


def latents(batch: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, 4, 3, 2, 2, generator=torch.Generator().manual_seed(seed)).to(dtype)


def total_cost(source: torch.Tensor, target: torch.Tensor) -> float:
    return (source.double() - target.double()).square().sum().item()


def test_squared_distances_are_those_of_every_pair():
    source, target = latents(3, 0), latents(5, 1)
    distances = squared_distances(source, target)
    for i, j in ((0, 0), (2, 4), (1, 3)):
        assert distances[i, j].item() == pytest.approx(total_cost(source[i], target[j]))
    assert squared_distances(source, source).diagonal().abs().max() < 1e-9


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 6])
def test_optimal_transport_equals_the_best_of_all_permutations(batch):
    pytest.importorskip("ot", reason="POT is not installed")
    for seed in range(5):
        observed, future = latents(batch, seed), latents(batch, 100 + seed)
        coupling = minibatch_optimal_transport(observed, future)
        best = min(permutations(range(batch)), key=lambda order: total_cost(observed[list(order)], future))
        assert torch.equal(coupling.x_source, observed[list(best)])
        assert torch.equal(coupling.x_target, future)
        assert total_cost(*coupling) <= total_cost(*inherent(observed, future)) + 1e-9


def test_optimal_transport_undoes_a_shuffle():
    pytest.importorskip("ot", reason="POT is not installed")
    observed = latents(40, 0)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    noise = 0.1 * latents(40, 2)
    assert torch.equal(minibatch_optimal_transport(observed, observed[order] + noise).x_source, observed[order])


def test_optimal_transport_uses_each_source_once_even_where_all_cost_the_same():
    pytest.importorskip("ot", reason="POT is not installed")
    plan = transport_plan(torch.zeros(12, 12, dtype=torch.float64))
    assert torch.equal((plan * 12).sort(dim=0).values[-1], torch.ones(12, dtype=torch.float64))
    assert torch.equal(plan.argmax(dim=0).sort().values, torch.arange(12))
    assert torch.count_nonzero(plan) == 12


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_optimal_transport_keeps_device_and_dtype(device):
    pytest.importorskip("ot", reason="POT is not installed")
    observed, future = (latents(4, seed, torch.bfloat16).to(device) for seed in (0, 1))
    with torch.autocast(device, torch.bfloat16):
        coupling = minibatch_optimal_transport(observed, future)
    for rows in coupling:
        assert rows.dtype == torch.bfloat16 and rows.device.type == device


def test_optimal_transport_refuses_what_is_not_finite():
    pytest.importorskip("ot", reason="POT is not installed")
    observed = latents(3, 0)
    observed[1, 0] = float("nan")
    with pytest.raises(InputError, match="encode it again"):
        minibatch_optimal_transport(observed, latents(3, 1))


def test_optimal_transport_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingDependency, match="pip install pot"):
        minibatch_optimal_transport(latents(2, 0), latents(2, 1))
