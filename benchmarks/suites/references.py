"""Features of the true frames: had once, and kept for every later benchmark on the same frames.

A reference is found by its protocol: clip list, which of its clips, how they were read, frames, extractor and its hash.

Shape legend: N cameras, R feature rows, D feature width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.statistics import FeatureSet, load_reference, reference_path
from worldmodel.benchmarks.suites.scoring import Scores, feature_name
from worldmodel.files import is_kept

CAMERAS = 64  # at most, of a rig: a sample's number is its clip's times this plus its camera's


@dataclass(frozen=True)
class ClipSample:
    """One clip: its number in the list, its cameras, and the number of its drive, by which the spread is drawn."""

    number: int
    cameras: tuple[str, ...]
    drive: int

    @property
    def numbers(self) -> torch.Tensor:
        """One for every camera."""
        return torch.arange(len(self.cameras)) + self.number * CAMERAS

    @property
    def groups(self) -> torch.Tensor:
        """The drive, for every camera."""
        return torch.full((len(self.cameras),), self.drive)


@dataclass(frozen=True)
class References:
    """Those of one benchmark.

    Attributes:
        folder: where they are kept between benchmarks. samples: the clips, in the list's order.
        base: clip list, hash of its clips that are taken, and the frames' rate. resample: how frames are read.
        chunks: of a rollout.
    """

    folder: Path
    samples: Sequence[ClipSample]
    base: Protocol
    resample: str
    chunks: int

    def protocol(self, extractor: Extractor, width: int, size: Sequence[int], chunk: int, frames: int) -> Protocol:
        """What figures of one chunk of `frames` frames are made with."""
        base = self.base
        protocol = extractor.protocol(width, frames, base.frame_rate, base.clips, base.clips_sha256)
        part = f", chunk {chunk + 1}" if self.chunks > 1 else ""
        return replace(protocol, preprocessing=self.read_at(size) + part)

    def read_at(self, size: Sequence[int]) -> str:
        """How the clips' frames are read, in words."""
        return f"{size[0]}x{size[1]} {self.resample}"

    def missing(self, extractor: Extractor, size: Sequence[int], frames: int) -> bool:
        """Whether the true frames have to pass through this extractor."""
        return not all(
            is_kept(reference_path(self.folder, self.protocol(extractor, width, size, chunk, frames)))
            for width in extractor.widths
            for chunk in range(self.chunks)
        )

    def get(self, name: str, protocol: Protocol, chunk: int, truth: Scores) -> FeatureSet:
        """The one that was kept, else summed up from the benchmark's own `truth`, and kept."""
        features = load_reference(self.folder, protocol)
        if features is None:
            features = feature_set(truth, feature_name(name, protocol.width, chunk), self.samples)
            features.save(self.folder, protocol)
        return features


def feature_set(scores: Scores, key: str, samples: Sequence[ClipSample]) -> FeatureSet:
    """All clips' features under this key."""
    features_SRD = torch.cat([scores.tensor(sample.number, key) for sample in samples])
    numbers, groups = (torch.cat([getattr(sample, what) for sample in samples]) for what in ("numbers", "groups"))
    return FeatureSet.of(features_SRD, numbers, groups)
