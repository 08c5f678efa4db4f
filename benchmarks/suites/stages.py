"""How long each stage of a prediction takes: encoding, every call of the network, decoding, the rest.

Stages are found from outside, at the modules that a method names, so that every method is timed alike: the VAE's
`encode` and `decode`, and the forward of every other network. Each is waited for on a GPU, before and after.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

VAE_STAGES = ("encode", "decode")
Call = Callable[..., Any]


@dataclass
class Stages:
    """Seconds of every call, by stage, in the order of the calls."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, stage: str, seconds: float) -> None:
        """Add one call."""
        self.seconds.setdefault(stage, []).append(seconds)


@contextmanager
def timed_stages(networks: Mapping[str, torch.nn.Module], device: torch.device) -> Iterator[Stages]:
    """Note every call of `networks` within the block. A network called within another's call counts for both."""
    stages = Stages()
    with wrapped_stages(networks, lambda call, stage: _noted(call, stage, stages, device)):
        yield stages


@contextmanager
def wrapped_stages(networks: Mapping[str, torch.nn.Module], wrap: Callable[[Call, str], Call]) -> Iterator[None]:
    """Every stage's call replaced by `wrap(call, stage)` within the block; stages are those of `timed_stages`."""
    before = []
    for name, network in networks.items():
        for method in VAE_STAGES if name == "vae" else ("forward",):
            before.append((network, method, vars(network).get(method)))
            setattr(network, method, wrap(getattr(network, method), method if name == "vae" else name))
    try:
        yield
    finally:
        for network, method, own in before:
            if own is None:
                delattr(network, method)  # the class's own is seen again
            else:
                setattr(network, method, own)


def _noted(call: Call, stage: str, stages: Stages, device: torch.device) -> Call:
    def noted(*given: Any, **named: Any) -> Any:
        begun = now(device)
        result = call(*given, **named)
        stages.note(stage, now(device) - begun)
        return result

    return noted


def now(device: torch.device) -> float:
    """Seconds, once everything given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
