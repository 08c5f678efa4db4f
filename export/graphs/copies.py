"""Copies of modules that share their weights, so that a graph is rewritten without touching the pipeline's modules."""

import copy
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def shared_copy(module: ModuleT) -> ModuleT:
    """A second tree of modules over the same tensors, in evaluation mode.

    What is exchanged in the copy (a child, a processor, a parameter) leaves `module` as it is; changing a tensor in
    place would not. It takes no memory for weights.
    """
    tensors = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, tensors).eval()


def wide_copy(module: ModuleT) -> ModuleT:
    """A copy with its own float32 weights, for constants that are computed once; only for small modules."""
    return copy.deepcopy(module).to(torch.float32).eval()


def exchange(module: ModuleT, kind: str, replacement: Callable[[nn.Module], nn.Module]) -> ModuleT:
    """Put `replacement(child)` in the place of each child of the class named `kind`; `module` is a `shared_copy`."""
    for name, child in list(module.named_modules()):
        if type(child).__name__ == kind:
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, replacement(child))
    return module
