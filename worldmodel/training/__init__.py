"""Training: `train(TrainConfig(...))`."""

from typing import TYPE_CHECKING, Any

from worldmodel.training.config import (
    AutoencoderConfig,
    DataConfig,
    LoraConfig,
    OptimizerConfig,
    TinyModelConfig,
    TrainConfig,
    ValidationConfig,
)

if TYPE_CHECKING:
    from worldmodel.training.trainer import train

__all__ = [
    "AutoencoderConfig",
    "DataConfig",
    "LoraConfig",
    "OptimizerConfig",
    "TinyModelConfig",
    "TrainConfig",
    "ValidationConfig",
    "train",
]


def __getattr__(name: str) -> Any:
    # The configuration alone needs no torch.
    if name == "train":
        from worldmodel.training.trainer import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
