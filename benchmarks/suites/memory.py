"""suite=memory: the paper's Tables 1 and 5. Peak memory from frames to frames at five volumes, and the line through it.

V is the number of latent numbers of the observed chunk, c f h w. The paper prints Mem(V) = k V / 10^6 + b and does not
say whether Mem is the peak or what lies above the weights; both lines are given.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.benchmarks.suites.config import CostConfig
from worldmodel.benchmarks.suites.latency import random_frames
from worldmodel.benchmarks.suites.peak_memory import peaks_by_stage, settled_mb
from worldmodel.benchmarks.suites.results import Figure, Measure

MEASURES = {
    "k peak": Measure("MB/10^6", "lower", "", {"what": "slope of the peak over V, ordinary least squares"}),
    "b peak": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
    "k above weights": Measure("MB/10^6", "lower", "", {"what": "slope of what lies above the loaded weights"}),
    "b above weights": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
}


@dataclass(frozen=True)
class Point:
    """Mean peak at one volume.

    Attributes:
        volume: latent numbers of the observed chunk.
        peak_mb: in all. above_mb: beyond what was held before. stages_mb: within each stage, and between them.
    """

    volume: int
    peak_mb: float
    above_mb: float
    stages_mb: dict[str, float] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """In which stage memory was highest."""
        return max(self.stages_mb, key=self.stages_mb.__getitem__)

    def numbers(self) -> dict[str, float]:
        """All as one flat table."""
        stages = {f"{stage}_mb": value for stage, value in self.stages_mb.items()}
        return {"volume": self.volume, "peak_mb": self.peak_mb, "above_mb": self.above_mb} | stages


def measure(method: Method, volume: int, config: CostConfig, device: torch.device) -> Point:
    """Mean over `config.runs` predictions of random frames, after `config.warmup`."""
    observed, runs = random_frames(method, config.clips, device), []
    for run in range(-config.warmup, config.runs):
        before = settled_mb(device)
        with peaks_by_stage(method.networks, device) as stages:
            method.run(observed, SeededNoise(range(config.clips)))
        if run >= 0:
            runs.append((before, stages))
    peaks = [max(stages.values()) for _, stages in runs]
    above = [peak - before for peak, (before, _) in zip(peaks, runs, strict=True)]
    by_stage = {name: _mean([stages[name] for _, stages in runs]) for name in runs[0][1]}
    return Point(volume, _mean(peaks), _mean(above), by_stage)


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


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)
