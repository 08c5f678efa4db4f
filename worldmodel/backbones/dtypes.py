"""The dtype in which a module expects its inputs."""

from typing import Any

import torch
from torch import nn


def input_dtype(module: nn.Module, entry: str) -> torch.dtype:
    """The dtype of the layer `entry` that `module`'s input meets first, seen through a DDP-like wrapper (`.module`).

    Not the first parameter's dtype: Wan keeps some parameters in float32 beside bfloat16 weights. Not diffusers'
    `ModelMixin.dtype` either: it walks all modules, 1.9 ms a call on LTX 2B, in every step of a rollout.
    """
    bare: Any = getattr(module, "module", module)
    dtype: torch.dtype = bare.get_submodule(entry).weight.dtype
    return dtype
