"""Modules with random weights: for memory and latency, which do not depend on what a network has learned."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn(dtype: torch.dtype, device: torch.device | str = "cpu", seed: int = 0) -> Iterator[None]:
    """Modules built inside draw their weights from `seed`, in the dtype and on the device where they stay."""
    place, before = torch.device(device), torch.get_default_dtype()
    with torch.random.fork_rng([place] if place.type == "cuda" else []), place:
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
