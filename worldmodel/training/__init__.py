"""Training: `train(TrainConfig(...))`."""

from typing import TYPE_CHECKING, Any

from worldmodel.training.config import AutoencoderConfig, DataConfig, OptimizerConfig, TinyModelConfig, TrainConfig

if TYPE_CHECKING:
    from worldmodel.training.run import train

__all__ = ["AutoencoderConfig", "DataConfig", "OptimizerConfig", "TinyModelConfig", "TrainConfig", "train"]


def __getattr__(name: str) -> Any:
    # The configuration alone needs no torch.
    if name == "train":
        from worldmodel.training.run import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
