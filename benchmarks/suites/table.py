"""From scores by clip to the rows of a table: means, their spread, and what they are by camera, frame and chunk."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from worldmodel.benchmarks.metrics.catalogue import CROSS_VIEW, Metrics
from worldmodel.benchmarks.metrics.cross_view import CrossView
from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.drift import drift_of, drift_of_distances
from worldmodel.benchmarks.metrics.figure import MetricFigure
from worldmodel.benchmarks.metrics.pairwise import PairwiseScore
from worldmodel.benchmarks.metrics.samples import alone
from worldmodel.benchmarks.metrics.statistics import distance
from worldmodel.benchmarks.published import quality_of
from worldmodel.benchmarks.suites.folder import BenchmarkFolder, RowFolder
from worldmodel.benchmarks.suites.references import ClipSample, References
from worldmodel.benchmarks.suites.results import Figure, Measure, Row
from worldmodel.benchmarks.suites.scoring import feature_name, pairwise_scores
from worldmodel.measure.report import Record


class ResultsTable:
    """Adds the scores by clip up to rows.

    Attributes:
        references: of the true frames, with the clips. metrics: what was measured with.
        measures: what every figure of the rows so far stands for. skipped: what could not be measured of them, and why.
    """

    def __init__(self, references: References, metrics: Metrics) -> None:
        self.references, self.metrics = references, metrics
        self.measures: dict[str, Measure] = {}
        self.skipped: dict[str, str] = {}

    @property
    def samples(self) -> Sequence[ClipSample]:
        """The clips, in the list's order."""
        return self.references.samples

    def row(self, label: str, method: str, folder: BenchmarkFolder) -> Row:
        """The figures of one row of predictions by `method`, its name in the registry."""
        row_folder = folder.row(label)
        metadata = row_folder.metadata()
        _, cost = row_folder.predictions.read(self.samples[0].number)
        evaluations = {name: value for name, value in asdict(cost).items() if name != "seconds"}
        row = Row(label, metadata["spec"], metadata["weights"], evaluations)
        for metric in self._filled(row_folder, row.spec["size"]):
            self._pairwise(row, metric)
        if self.metrics.cross_view:
            self._cross_view(row, row_folder)
        usable = self.metrics.for_frames(row.spec["future_frames"])
        self.skipped.update({f"{name} of {label}": why for name, why in usable.skipped.items()})
        for name, extractor in usable.extractors.items():
            for width in extractor.widths:
                self._distances(row, name, width, folder)
        row.published.update(quality_of(method, row.spec, self.references.base.clips))
        return row

    def _filled(self, folder: RowFolder, size: Sequence[int]) -> list[PairwiseScore]:
        """Every score of frames with all clips in it."""
        names = sorted({camera for sample in self.samples for camera in sample.cameras})
        frames = folder.scores.tensor(self.samples[0].number, "PSNR").shape[1]
        base = replace(self.references.base, frames=frames, preprocessing=self.references.read_at(size))
        metrics = [alone(metric) for metric in pairwise_scores(self.metrics, base, names)]
        for sample in self.samples:
            scores = folder.scores.read(sample.number)
            places_N1 = torch.tensor([[float(names.index(camera))] for camera in sample.cameras]).double()
            for metric in metrics:
                metric.add(torch.cat([places_N1, scores[metric.title]], dim=1), sample.numbers, sample.groups)
        return metrics

    def _pairwise(self, row: Row, metric: PairwiseScore) -> None:
        self._note(row, metric.title, metric.figure())
        row.by_camera[metric.title] = {camera: figure.value for camera, figure in metric.by_camera().items()}
        row.by_frame[metric.title] = list(metric.by_frame().values)
        drift = drift_of(metric, metric.protocol.frames // self.references.chunks)
        if drift is not None:
            self._note(row, drift.drift.name, drift.drift)
            row.by_chunk[metric.title] = list(drift.by_chunk.values)

    def _cross_view(self, row: Row, folder: RowFolder) -> None:
        base = self.references.base
        metric = alone(CrossView(replace(base, frames=row.spec["future_frames"] * self.references.chunks)))
        for sample in self.samples:
            row_14 = folder.scores.tensor(sample.number, CROSS_VIEW)[None]
            metric.add(row_14, torch.tensor([sample.number]), torch.tensor([sample.drive]))
        figure = metric.figure()
        if figure.value != figure.value:
            self.skipped[f"{CROSS_VIEW} of {row.label}"] = "; ".join(figure.remarks)
        else:
            self._note(row, figure.name, figure)

    def _distances(self, row: Row, name: str, width: int, folder: BenchmarkFolder) -> None:
        extractor, chunks = self.metrics.extractors[name], self.references.chunks
        metrics = [self._distance(row, name, width, chunk, folder) for chunk in range(chunks)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few clips: the figure's own remarks say so
            figures = [metric.figure() for metric in metrics]
            for figure in figures:
                self._note(row, figure.name, figure)
            title = extractor.title_of(width)
            if chunks > 1:
                row.by_chunk[title] = [figure.value for figure in figures]
                self._note(row, f"drift of {title}", drift_of_distances(metrics[0], metrics[-1]))
            else:
                row.by_camera[title] = self._by_camera(metrics[0])
                row.by_frame.update(_by_frame(title, metrics[0]))

    def _distance(self, row: Row, name: str, width: int, chunk: int, folder: BenchmarkFolder) -> FrechetDistance:
        """Of one chunk, with all clips in it."""
        extractor, frames = self.metrics.extractors[name], row.spec["future_frames"]
        title = extractor.title_of(width) + (f" chunk {chunk + 1}" if self.references.chunks > 1 else "")
        protocol = self.references.protocol(extractor, width, row.spec["size"], chunk, frames)
        real = self.references.get(name, protocol, chunk, folder.truth(frames, row.spec["size"], name))
        metric = alone(FrechetDistance(title, protocol, extractor.rows(frames), reference=real))
        key = feature_name(name, width, chunk)
        for sample in self.samples:
            features = folder.row(row.label).scores.tensor(sample.number, key)
            metric.update(features, False, sample.numbers, sample.groups)
        return metric

    def _by_camera(self, metric: FrechetDistance) -> dict[str, float]:
        """The distance on the clips of each camera that has two or more."""
        real, predicted = metric.sets()
        cameras = [camera for sample in self.samples for camera in sample.cameras]
        masks = {name: torch.tensor([camera == name for camera in cameras]) for name in sorted(set(cameras))}
        return {
            name: distance(real.only(mask_S), predicted.only(mask_S))
            for name, mask_S in masks.items()
            if int(mask_S.sum()) > 1
        }

    def _note(self, row: Row, name: str, figure: MetricFigure) -> None:
        self.measures.setdefault(name, Measure(figure.unit, figure.better, figure.spread_kind, _printed(figure)))
        row.figures[name] = Figure(figure.value, figure.spread, figure.interval, figure.jackknife, figure.floor)


def _by_frame(title: str, metric: FrechetDistance) -> dict[str, list[float]]:
    """The distance at each step of the horizon, where a row of features is a frame."""
    if metric.rows != metric.protocol.frames:
        return {}
    real, predicted = metric.sets()
    every_S = torch.ones(len(predicted.samples_S), dtype=torch.bool)
    frames = [slice(row, row + 1) for row in range(metric.rows)]
    return {title: [distance(real.only(every_S, frame), predicted.only(every_S, frame)) for frame in frames]}


def _printed(figure: MetricFigure) -> Record:
    """What is printed of a protocol: all that is set, and what a reader must know."""
    protocol = asdict(figure.protocol)
    settings = {name: value for name, value in protocol.items() if value not in ("", 0, 0.0, False, "none")}
    return settings | {"samples": figure.clips} | ({"remarks": " ".join(figure.remarks)} if figure.remarks else {})
