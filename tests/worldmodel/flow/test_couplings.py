"""Which source belongs to which target."""

import pytest
import torch

from worldmodel.errors import InputError
from worldmodel.flow.couplings import cyclic_permutation, independent, inherent


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
