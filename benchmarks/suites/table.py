"""From scores by clip to the rows of a table: means, their spread, and what they are by camera, frame and chunk."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.drift import drift_of
from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Figure as MetricFigure
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.pairwise import PairwiseScore
from worldmodel.benchmarks.suites.folder import BenchmarkFolder
from worldmodel.benchmarks.suites.results import Figure, Measure, Row
from worldmodel.benchmarks.suites.scoring import PAIRWISE, Scores, feature_name

CAMERAS = 64  # at most, of a rig: a sample's number is its clip's times this plus its camera's


@dataclass(frozen=True)
class Sample:
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
class Table:
    """What rows are added up with.

    Attributes:
        samples: the clips, in the list's order. chunks: of a rollout. base: of every figure's protocol.
        extractors: by name. measures: filled with what every figure stands for.
    """

    samples: list[Sample]
    chunks: int
    base: Protocol
    extractors: Mapping[str, Extractor]
    measures: dict[str, Measure]

    def row(self, label: str, folder: BenchmarkFolder) -> Row:
        """One method's figures."""
        place = folder.row(label)
        said = place.said()
        truth = folder.truth(said["spec"]["size"])
        _, cost = place.predictions.read(self.samples[0].number)
        row = Row(label, said["spec"], said["weights"], asdict(cost) | {})
        row.evaluations.pop("seconds")
        for title, score in PAIRWISE.items():
            self._pairwise(row, self._filled(title, score, place.scores))
        for name, extractor in self.extractors.items():
            for width in extractor.widths:
                self._distances(row, name, width, place.scores, truth)
        return row

    def _filled(self, title: str, kind: type[PairwiseScore], scores: Scores) -> PairwiseScore:
        names = sorted({camera for sample in self.samples for camera in sample.cameras})
        frames = next(iter(scores.read(self.samples[0].number).values())).shape[1]
        metric = kind(_with_frames(self.base, frames), names)
        for sample in self.samples:
            values_NG = scores.read(sample.number)[title]
            places_N1 = torch.tensor([[float(names.index(camera))] for camera in sample.cameras]).double()
            metric.add(torch.cat([places_N1, values_NG], dim=1), sample.numbers, sample.groups)
        return metric

    def _pairwise(self, row: Row, metric: PairwiseScore) -> None:
        self._note(row, metric.title, metric.figure())
        row.by_camera[metric.title] = {camera: one.value for camera, one in metric.by_camera().items()}
        row.by_frame[metric.title] = list(metric.by_frame().values)
        drift = drift_of(metric, metric.protocol.frames // self.chunks)
        if drift is not None:
            self._note(row, drift.drift.name, drift.drift)
            row.by_chunk[metric.title] = list(drift.by_chunk.values)

    def _distances(self, row: Row, name: str, width: int, predicted: Scores, truth: Scores) -> None:
        extractor, frames = self.extractors[name], row.spec["future_frames"]
        values = []
        for chunk in range(self.chunks):
            title = extractor.title_of(width) + (f" chunk {chunk + 1}" if self.chunks > 1 else "")
            protocol = extractor.protocol(width, frames, self.base.frame_rate, self.base.clips, self.base.clips_sha256)
            metric, key = FrechetDistance(title, protocol, extractor.rows(frames)), feature_name(name, width, chunk)
            for sample in self.samples:
                for scores, real in ((truth, True), (predicted, False)):
                    metric.update(scores.read(sample.number)[key], real, sample.numbers, sample.groups)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # few clips: the figure's own remarks say so
                figure = metric.figure()
            self._note(row, title, figure)
            values.append(figure.value)
        if self.chunks > 1:
            row.by_chunk[extractor.title_of(width)] = values

    def _note(self, row: Row, name: str, found: MetricFigure) -> None:
        self.measures.setdefault(name, Measure(found.unit, found.better, found.spread_kind, _said(found)))
        row.figures[name] = Figure(found.value, found.spread, found.interval, found.jackknife, found.floor)


def _with_frames(base: Protocol, frames: int) -> Protocol:
    return Protocol(**{**asdict(base), "frames": frames})


def _said(found: MetricFigure) -> dict[str, Any]:
    """What is printed of a protocol: all that is set, and what a reader must know."""
    said = {name: value for name, value in asdict(found.protocol).items() if value not in ("", 0, 0.0, False, "none")}
    return said | {"samples": found.clips} | ({"remarks": " ".join(found.remarks)} if found.remarks else {})
