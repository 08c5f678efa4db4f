"""Which source belongs to which target."""

import pytest
import torch

from worldmodel.errors import InputError
from worldmodel.flow.couplings import cyclic_permutation, independent, inherent, target_inverted


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
    source, target = target_inverted(observed, std, future, noise, 0.7, torch.Generator().manual_seed(0))
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
