"""The dtype in which a module expects its inputs."""

import torch
from torch import nn


def compute_dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a diffusers model's inputs, seen through a DDP-like wrapper (`.module`).

    Not the first parameter's: Wan keeps some parameters in float32 beside bfloat16 weights, and layerwise casting
    stores weights in another dtype than it computes in; diffusers' `ModelMixin.dtype` knows both.
    """
    return getattr(module, "module", module).dtype
