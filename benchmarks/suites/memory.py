"""suite=memory: the paper's Tables 1 and 5. Peak memory from frames to frames at five volumes, and the line through it.

V is the number of latent numbers of the observed chunk, c f h w. The paper prints Mem(V) = k V / 10^6 + b and does not
say whether Mem is the peak or what lies above the weights; both lines are given.

With `cost.protocol=published` Mem is as FlowC2S's code has it: what sampling and decoding, but not encoding, take above
weights and inputs, in MiB, over twice the latents of the own input (LTX and Wan). For LTX that code gives the larger of
the two stages, for Wan each of them. It holds the text encoder beside, which the subtraction takes out again.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.benchmarks.suites.config import CostConfig
from worldmodel.benchmarks.suites.latency import random_frames
from worldmodel.benchmarks.suites.results import Figure, Measure
from worldmodel.conventions import PAPER, MemoryProtocol
from worldmodel.measure.memory import BETWEEN, peaks_by_stage, settled_mb
from worldmodel.measure.timing import VAE_STAGES

PAPER_MEASURES = {
    "k peak": Measure("MB/10^6", "lower", "", {"what": "slope of the peak over V, ordinary least squares"}),
    "b peak": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
    "k above weights": Measure("MB/10^6", "lower", "", {"what": "slope of what lies above the loaded weights"}),
    "b above weights": Measure("MB", "lower", "", {"what": "its value at V = 0"}),
}

PUBLISHED_MEASURES = {
    f"{letter} {stage}": Measure("MiB/10^6" if letter == "k" else "MiB", "lower", "", {"what": what})
    for stage, what in (
        ("above weights", "of sampling and decoding above weights and inputs, over V of both chunks"),
        ("sampling", "of sampling alone"),
        ("decode", "of decoding alone"),
    )
    for letter in "kb"
}
LINES = {"peak": "peak_mb", "above weights": "above_mb", "sampling": "sampling_mb", "decode": "decode_mb"}
"""Last words of a measure's name -> attribute of a point."""


def measures_of(protocol: MemoryProtocol) -> dict[str, Measure]:
    """What is reported under this protocol."""
    return PAPER_MEASURES if protocol.subtracted == "none" else PUBLISHED_MEASURES


@dataclass(frozen=True)
class Point:
    """Mean peak at one volume.

    Attributes:
        volume: latent numbers, of as many chunks as the protocol counts.
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

    @property
    def sampling_mb(self) -> float:
        """Of the networks but the VAE, beyond what was held before."""
        rest = [value for name, value in self.stages_mb.items() if name not in (*VAE_STAGES, BETWEEN)]
        return max(rest, default=0.0) - (self.peak_mb - self.above_mb)

    @property
    def decode_mb(self) -> float:
        """Of decoding, beyond what was held before."""
        return self.stages_mb.get("decode", 0.0) - (self.peak_mb - self.above_mb)

    def without_encoding(self) -> "Point":
        """The point where encoding does not count."""
        above = max(self.sampling_mb, self.decode_mb)
        return replace(self, above_mb=above, peak_mb=self.peak_mb - self.above_mb + above)

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
    """k in MB per 10^6 latent numbers and b in MB of `what`, an attribute of `Point`."""
    volumes = np.array([point.volume for point in points]) / 1e6
    slope, intercept = np.polyfit(volumes, [getattr(point, what) for point in points], 1)
    return float(slope), float(intercept)


def figures(points: list[Point], protocol: MemoryProtocol = PAPER.memory) -> dict[str, Figure]:
    """By the names of `measures_of`, in the protocol's unit."""
    points = points if protocol.encoding else [point.without_encoding() for point in points]
    slopes_and_offsets = {}
    for name in measures_of(protocol):
        letter, _, what = name.partition(" ")
        value = line(points, LINES[what])["kb".index(letter)]
        slopes_and_offsets[name] = Figure(value if protocol.unit_bytes == 10**6 else value * 1e6 / protocol.unit_bytes)
    return slopes_and_offsets


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)
