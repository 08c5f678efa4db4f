"""A module's call as a CUDA graph: captured once for each shape of its arguments, then replayed.

On a CPU the same static copies are made and the call is run on them, so that all but the graph itself is tested there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Replay = tuple[list[Tensor], Callable[[], None], Any]
"""Static inputs, what runs the graph, and its static output."""


class Graphed:
    """`call` with tensors anywhere in its arguments; what is no tensor must not change without being seen in them."""

    def __init__(self, call: Callable[..., Any], device: torch.device) -> None:
        self.call, self.device = call, device
        self.captured: dict[str, Replay] = {}

    def __call__(self, *given: Any, **named: Any) -> Any:
        flat, spec = tree_flatten((given, named))
        key = f"{spec} {[(tuple(x.shape), x.dtype) if isinstance(x, Tensor) else x for x in flat]}"
        if key not in self.captured:
            self.captured[key] = self._capture(flat, spec)
        inputs, replay, output = self.captured[key]
        for own, new in zip(inputs, [x for x in flat if isinstance(x, Tensor)], strict=True):
            own.copy_(new)
        replay()
        return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, output)

    def _capture(self, flat: list[Any], spec: Any) -> Replay:
        own = [x.clone(memory_format=torch.contiguous_format) if isinstance(x, Tensor) else x for x in flat]
        inputs = [x for x in own if isinstance(x, Tensor)]
        given, named = tree_unflatten(own, spec)
        if self.device.type != "cuda":
            output = self.call(*given, **named)
            flat_output, shape = tree_flatten(output)

            def again() -> None:
                new = tree_flatten(self.call(*given, **named))[0]
                for kept, value in zip(flat_output, new, strict=True):
                    if isinstance(kept, Tensor):
                        kept.copy_(value)

            return inputs, again, tree_unflatten(flat_output, shape)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.call(*given, **named)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self.call(*given, **named)
        return inputs, graph.replay, output


@contextmanager
def graphed(networks: Mapping[str, Any], device: torch.device) -> Iterator[None]:
    """Within the block the transformer's forward and the VAE's encoding and decoding are graphs."""
    places = [(networks["transformer"], "forward"), (networks["vae"], "_encode"), (networks["vae"], "_decode")]
    for network, name in places:
        setattr(network, name, Graphed(getattr(network, name), device))
    try:
        yield
    finally:
        for network, name in places:
            delattr(network, name)
