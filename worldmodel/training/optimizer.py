"""The one optimizer, for a run and for those who measure its steps."""

from collections.abc import Iterable

import torch
from torch.nn import Parameter

from worldmodel.training.config import TrainConfig


def adamw(config: TrainConfig, trained: Iterable[Parameter]) -> torch.optim.AdamW:
    """AdamW on `trained` as the run says, and as its conventions say where it does not."""
    settings = config.settled.optimizer
    assert settings.weight_decay is not None  # settled
    return torch.optim.AdamW(trained, settings.lr, settings.betas, weight_decay=settings.weight_decay, foreach=True)
