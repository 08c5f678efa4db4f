"""What all rows of a benchmark over clips are run on: the clips, the metrics, and the features of the true frames."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate import PartialState
from torch.utils.data import Dataset

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.documents import read_clip_list
from worldmodel.benchmarks.clips.reader import open_clips
from worldmodel.benchmarks.clips.registry import ClipsConfig, clip_list
from worldmodel.benchmarks.metrics.catalogue import AUTO, CROSS_VIEW, Metrics, open_metrics
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.hashes import hashed_once
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.plan import RowSpec, row_specs
from worldmodel.benchmarks.suites.references import ClipSample, References
from worldmodel.datasets.pairs import PixelPair
from worldmodel.files import cache_folder
from worldmodel.measure.report import Record

OBSERVED = 17


@dataclass
class EvalContext:
    """What all rows are run on.

    Attributes:
        clips: the list. numbers: those of it that are taken.
        metrics: what is measured. skipped: what was left out, and why.
    """

    config: BenchmarkConfig
    clips: ClipList
    numbers: list[int]
    metrics: Metrics
    skipped: dict[str, str]

    @property
    def chunks(self) -> int:
        """Chunks of a rollout."""
        return self.config.rollout

    @cached_property
    def rows(self) -> list[RowSpec]:
        """The rows that are asked for."""
        return row_specs(self.config)

    @property
    def reading(self) -> str:
        """How frames are read, for what is kept of them: the pixels differ."""
        reader = self.config.video_reader
        return self.config.resampling if reader == "pyav" else f"{self.config.resampling}, {reader}"

    @property
    def settings(self) -> Record:
        """What a resumed benchmark must have in common with this one."""
        config = self.config
        return {
            "suite": config.suite, "seed": config.seed, "chunks": self.chunks, "resample": self.reading,
            "metrics": self.metrics.names,
            "clips": self.clips.label, "clips_sha256": self.clips.sha256, "numbers": self.numbers,
            "methods": {row.label: {"method": row.method, **row.options} for row in self.rows},
        }  # fmt: skip

    @cached_property
    def references(self) -> References:
        """Features of the true frames of the taken clips."""
        clips, config = self.clips, self.config
        folder = Path(config.references) if config.references else cache_folder() / "references"
        taken = f"{clips.sha256} {self.numbers}".encode()
        sha256 = clips.sha256 if len(self.numbers) == len(clips) else hashlib.sha256(taken).hexdigest()
        base = Protocol("", frame_rate=clips.frame_rate or 0.0, clips=clips.label, clips_sha256=sha256)
        return References(folder, samples_of(clips, self.numbers), base, self.reading, self.chunks)

    def pairs(self, size: tuple[int, int]) -> Dataset[PixelPair]:
        """All clips at this size."""
        config = self.config
        observed, reader = self.clips.observed_frames, config.video_reader
        return open_clips(self.clips, config.root, size, observed, config.resampling, video_reader=reader)


def open_context(config: BenchmarkConfig) -> EvalContext:
    """Build or read the clip list, choose among its clips, and open the metrics."""
    path = Path(config.clips)
    frames = None if config.rollout == 1 else OBSERVED * (1 + config.rollout)
    clips = (
        read_clip_list(path)
        if path.suffix == ".json"
        else clip_list(ClipsConfig(list=config.clips, root=config.root, version=config.version, frames=frames))
    )
    most = min(len(clips), config.most_clips or len(clips))
    numbers = np.linspace(0, len(clips) - 1, most).round().astype(int).tolist()
    names = AUTO if config.metrics == ("auto",) else config.metrics
    with hashed_once():
        metrics = open_metrics(names, device=PartialState().device)
    if metrics.cross_view and (not clips.tables or min(len(clip.cameras) for clip in clips.clips) < 2):
        metrics.cross_view = False
        metrics.skipped[CROSS_VIEW] = "skipped: it needs clips of two or more calibrated cameras"
    return EvalContext(config, clips, numbers, metrics, dict(metrics.skipped))


def samples_of(clips: ClipList, numbers: Sequence[int]) -> list[ClipSample]:
    """The chosen clips; drives are numbered in the order of their names."""
    drives = {scene: drive for drive, scene in enumerate(sorted({clip.scene for clip in clips.clips}))}
    return [ClipSample(number, clips.clips[number].cameras, drives[clips.clips[number].scene]) for number in numbers]
