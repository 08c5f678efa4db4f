"""Where a prediction's noise comes from."""

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from worldmodel.errors import InputError

Generators = torch.Generator | list[torch.Generator] | None
"""One for all videos, or one for each, so that a video's answer does not depend on its batch."""


def normal_like(like: Tensor, generator: Generators) -> Tensor:
    """Standard normal numbers, drawn on the CPU so that they are the same on every device; None is a fixed seed."""
    check_generators(generator, len(like))
    generator = generator or torch.Generator().manual_seed(0)
    drawn: Tensor = randn_tensor(like.shape, generator, like.device, like.dtype)
    return drawn


def check_generators(generator: Generators, batch: int) -> None:
    """Raise `InputError` for a list that has not one for each of `batch` videos."""
    if isinstance(generator, list) and len(generator) != batch:
        raise InputError(f"generator: {len(generator)} for {batch} videos; give one, or one for each")
