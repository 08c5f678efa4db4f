"""suite=latency: seconds of a prediction from frames to frames, and of its stages; any weights will do."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.benchmarks.suites.config import CostConfig
from worldmodel.benchmarks.suites.results import Figure, Measure
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError
from worldmodel.measure.timing import Stages, now, timed_stages

MEASURES = {
    "seconds": Measure("s", "lower", "the median absolute deviation", {"what": "frames in to frames out, median"}),
    "encode": Measure("s", "lower", "", {"what": "all calls of the VAE's encoder in one prediction, median"}),
    "evaluations": Measure("s", "lower", "", {"what": "all calls of the network in one prediction, median"}),
    "one evaluation": Measure("s", "lower", "", {"what": "one call of the network, median"}),
    "decode": Measure("s", "lower", "", {"what": "all calls of the VAE's decoder in one prediction, median"}),
    "times real time": Measure(
        "", "lower", "", {"what": f"seconds over the duration of the predicted frames at {NOMINAL_RATE:g} Hz"}
    ),
}


@dataclass(frozen=True)
class Latency:
    """Of some predictions: seconds of each, and the calls of every stage in each."""

    seconds: list[float]
    stages: list[Stages]

    def figures(self, method: Method) -> dict[str, Figure]:
        """By the names of `MEASURES`, those that there are."""
        middle = statistics.median(self.seconds)
        spread = statistics.median(abs(one - middle) for one in self.seconds)
        figures = {"seconds": Figure(middle, spread)}
        networks = {name for stages in self.stages for name in stages.seconds} - {"encode", "decode"}
        for name, members in (("encode", {"encode"}), ("evaluations", networks), ("decode", {"decode"})):
            totals = [sum(sum(stages.seconds.get(one, [])) for one in members) for stages in self.stages]
            if any(totals):
                figures[name] = Figure(statistics.median(totals))
        calls = [call for stages in self.stages for name in networks for call in stages.seconds.get(name, [])]
        if calls:
            figures["one evaluation"] = Figure(statistics.median(calls))
        figures["times real time"] = Figure(middle * NOMINAL_RATE / method.spec.future_frames)
        return figures


def measure(method: Method, config: CostConfig, device: torch.device) -> Latency:
    """Time `config.runs` predictions of random frames, after `config.warmup` that are not counted."""
    if config.compile:
        compile_blocks(method.networks)
    observed, seconds, all_stages = random_frames(method, config.clips, device), [], []
    for run in range(-config.warmup, config.runs):
        with timed_stages(method.networks, device) as stages:
            begun = now(device)
            method.run(observed, SeededNoise(range(config.clips)))
            ended = now(device)
        if run >= 0:
            seconds.append(ended - begun)
            all_stages.append(stages)
    return Latency(seconds, all_stages)


def random_frames(method: Method, clips: int, device: torch.device) -> torch.Tensor:
    """What the method takes, [B, F, 3, H, W] in [-1, 1]."""
    spec = method.spec
    frames = spec.future_frames if spec.sees_truth else spec.observed_frames
    generator = torch.Generator().manual_seed(0)
    return torch.rand(clips, frames, 3, *spec.size, generator=generator).mul(2).sub(1).to(device)


def compile_blocks(networks: Mapping[str, Any]) -> None:
    """torch.compile of the repeated blocks of every network that has any."""
    compiled = 0
    for network in networks.values():
        if getattr(network, "_repeated_blocks", None):
            network.compile_repeated_blocks()
            compiled += 1
    if not compiled:
        raise InputError("cost.compile=true: no network of this method has blocks that diffusers compiles")
