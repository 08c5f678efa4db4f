"""Seconds: of a call, of named parts, and of every stage of a prediction, all calls on a GPU waited for.

Stages are found from outside, at the modules that a method names, so that every method is timed alike: the VAE's
`encode` and `decode`, and the forward of every other network.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

VAE_STAGES = ("encode", "decode")
Call = Callable[..., Any]
AnswerT = TypeVar("AnswerT")


class Stopwatch:
    """Wall seconds by name: `with watch("read"): ...`"""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)


def timed(call: Callable[[], AnswerT]) -> tuple[float, AnswerT]:
    """Wall seconds of a call, and its answer."""
    begun = time.perf_counter()
    answer = call()
    return time.perf_counter() - begun, answer


def synchronize(device: "torch.device") -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def now(device: "torch.device") -> float:
    """The clock in seconds, once everything given to the device is done."""
    synchronize(device)
    return time.perf_counter()


@dataclass
class Stages:
    """Seconds of every call, by stage, in the order of the calls."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, stage: str, seconds: float) -> None:
        """Add one call."""
        self.seconds.setdefault(stage, []).append(seconds)


@contextmanager
def timed_stages(networks: "Mapping[str, torch.nn.Module]", device: "torch.device") -> Iterator[Stages]:
    """Note every call of `networks` within the block. A network called within another's call counts for both."""
    stages = Stages()

    def wrap(call: Call, stage: str) -> Call:
        def noted(*args: Any, **kwargs: Any) -> Any:
            begun = now(device)
            result = call(*args, **kwargs)
            stages.note(stage, now(device) - begun)
            return result

        return noted

    with wrapped_stages(networks, wrap):
        yield stages


@contextmanager
def wrapped_stages(networks: "Mapping[str, torch.nn.Module]", wrap: Callable[[Call, str], Call]) -> Iterator[None]:
    """Replace every stage's call by `wrap(call, stage)` within the block; stages are those of `timed_stages`."""
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
