"""The one optimizer, for a run and for those who measure its steps."""

from collections.abc import Iterable

import torch
from torch.nn import Parameter

from worldmodel.training.config import OptimizerConfig


def adamw(settings: OptimizerConfig, trained: Iterable[Parameter]) -> torch.optim.AdamW:
    """AdamW on `trained`; the settings are those of a settled run, which has its conventions' weight decay."""
    assert settings.weight_decay is not None
    return torch.optim.AdamW(trained, settings.lr, settings.betas, weight_decay=settings.weight_decay, foreach=True)
