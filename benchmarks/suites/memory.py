"""suite=memory: the paper's Tables 1 and 5. Peak memory from frames to frames at five volumes, and the line through it.

V is the number of latent numbers of the observed chunk, c f h w. The paper prints Mem(V) = k V / 10^6 + b and does not
say whether Mem is the peak or what lies above the weights; both lines are given.
"""

from dataclasses import dataclass

import numpy as np
import torch

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.benchmarks.suites.config import CostConfig
from worldmodel.benchmarks.suites.latency import random_frames
from worldmodel.benchmarks.suites.peak_memory import Peak, peak_memory
from worldmodel.benchmarks.suites.results import Figure, Measure

MEASURES = {
    "k peak": Measure("MB/10^6", "lower", "", {"what": "slope of the peak over V, ordinary least squares"}),
    "b peak": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
    "k above weights": Measure("MB/10^6", "lower", "", {"what": "slope of what lies above the loaded weights"}),
    "b above weights": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
}


@dataclass(frozen=True)
class Point:
    """Mean peak at one volume. volume: latent numbers of the observed chunk."""

    volume: int
    peak_mb: float
    above_mb: float


def measure(method: Method, volume: int, config: CostConfig, device: torch.device) -> Point:
    """Mean over `config.runs` predictions of random frames, after `config.warmup`."""
    observed, peaks = random_frames(method, config.clips, device), []
    for run in range(-config.warmup, config.runs):
        with peak_memory(device) as peak:
            method.run(observed, SeededNoise(range(config.clips)))
        if run >= 0:
            peaks.append(peak)
    return Point(volume, _mean("peak_mb", peaks), _mean("above_mb", peaks))


def line(points: list[Point], what: str) -> tuple[float, float]:
    """k in MB per 10^6 latent numbers and b in MB of `what`: peak_mb or above_mb."""
    volumes = np.array([point.volume for point in points]) / 1e6
    slope, intercept = np.polyfit(volumes, [getattr(point, what) for point in points], 1)
    return float(slope), float(intercept)


def figures(points: list[Point]) -> dict[str, Figure]:
    """By the names of `MEASURES`."""
    (k, b), (k_above, b_above) = (line(points, what) for what in ("peak_mb", "above_mb"))
    values = {"k peak": k, "b peak": b, "k above weights": k_above, "b above weights": b_above}
    return {name: Figure(value) for name, value in values.items()}


def _mean(what: str, peaks: list[Peak]) -> float:
    return round(float(np.mean([getattr(peak, what) for peak in peaks])), 3)
