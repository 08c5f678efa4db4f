"""Copies share weights, and what is exchanged in them stays in them."""

import torch
from torch import nn

from worldmodel.export.graphs.copies import shared_copy, wide_copy


def test_a_copy_shares_tensors_and_not_modules() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    copy = shared_copy(module)
    assert [p.data_ptr() for p in copy.parameters()] == [p.data_ptr() for p in module.parameters()]
    assert [b.data_ptr() for b in copy.buffers()] == [b.data_ptr() for b in module.buffers()]
    copy[0] = nn.Identity()
    copy[1]._parameters["weight"] = nn.Parameter(torch.zeros(3))
    assert isinstance(module[0], nn.Linear) and bool((module[1].weight == 1).all())
    assert module.training and not copy.training


def test_a_wide_copy_has_its_own_float32_weights() -> None:
    module = nn.Linear(2, 3, dtype=torch.float16)
    wide = wide_copy(module)
    assert wide.weight.dtype == torch.float32 and module.weight.dtype == torch.float16
    assert torch.equal(wide.weight, module.weight.float())
