"""suite=quality, nfe and horizon: every row predicts every clip, in any number of processes, then all is added up.

Predictions and scores are files by clip; a process takes every so manyth clip, so that one process or several, killed
or not, leave the same files and hence the same results.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.documents import read_clip_list
from worldmodel.benchmarks.clips.reader import open_clips
from worldmodel.benchmarks.clips.verb import ClipsConfig, clip_list
from worldmodel.benchmarks.methods.method import Method
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.metrics.catalogue import LOADERS, open_extractors
from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.folder import BenchmarkFolder, RowFolder
from worldmodel.benchmarks.suites.plan import Plan, plans
from worldmodel.benchmarks.suites.predictions import clip_seeds, predict_clip
from worldmodel.benchmarks.suites.scoring import Scores, features_of, scores_of
from worldmodel.benchmarks.suites.table import Sample
from worldmodel.datasets.clip import ChunkPair
from worldmodel.errors import InputError
from worldmodel.provenance import weights_hash

OBSERVED = 17


@dataclass
class Ground:
    """What all rows are run on.

    Attributes:
        clips: the list. numbers: those of it that are taken. chunks: of a rollout.
        extractors: of features, by name. skipped: what was left out, and why.
    """

    config: BenchmarkConfig
    clips: ClipList
    numbers: list[int]
    chunks: int
    extractors: dict[str, Extractor] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed benchmark must have in common with this one."""
        config = self.config
        return {
            "suite": config.suite, "seed": config.seed, "chunks": self.chunks, "resample": config.resample,
            "extractors": sorted(self.extractors),
            "clips": self.clips.label, "clips_sha256": self.clips.sha256, "numbers": self.numbers,
            "methods": {plan.label: {"method": plan.method, **plan.options} for plan in plans(config)},
        }  # fmt: skip

    def samples(self, size: tuple[int, int]) -> Dataset[ChunkPair]:
        """All clips at this size."""
        config = self.config
        return open_clips(self.clips, config.root, size, self.clips.observed_frames, config.resample)


def open_ground(config: BenchmarkConfig) -> Ground:
    """Build or read the clip list, and choose."""
    path = Path(config.clips)
    frames = None if config.chunks == 1 else OBSERVED * (1 + config.chunks)
    clips = (
        read_clip_list(path)
        if path.suffix == ".json"
        else clip_list(ClipsConfig(list=config.clips, root=config.root, version=config.version, frames=frames))
    )
    least = OBSERVED * (1 + config.chunks)
    if clips.frames < clips.observed_frames + OBSERVED * config.chunks:
        raise InputError(f"clips={config.clips}: {clips.frames} frames, chunks={config.chunks} needs {least}")
    most = min(len(clips), config.most_clips or len(clips))
    numbers = np.linspace(0, len(clips) - 1, most).round().astype(int).tolist()
    extractors, skipped = open_extractors(LOADERS if config.metrics == ("auto",) else config.metrics)
    return Ground(config, clips, numbers, config.chunks, extractors, skipped)


def fill(ground: Ground, folder: BenchmarkFolder) -> list[str]:
    """Predict and score what is missing; labels of the rows that are there then. All processes call it."""
    state, labels = PartialState(), []
    with state.main_process_first():
        if state.is_main_process:
            folder.prepare(ground.settings, ground.config.resume, ground.config.overwrite)
    for plan in plans(ground.config):
        try:
            method = open_method(plan.method, plan.options)
        except InputError as error:
            ground.skipped[plan.label] = str(error)
            continue
        fill_row(ground, plan, method, folder, state)
        labels.append(plan.label)
    return labels


def fill_row(ground: Ground, plan: Plan, method: Method, folder: BenchmarkFolder, state: PartialState) -> None:
    """This process' share of one row."""
    row = folder.row(plan.label)
    with state.main_process_first():
        row.say(asdict(method.spec), {name: weights_hash(module) for name, module in method.networks.items()})
    samples, device = ground.samples(method.spec.size), device_of(method)
    share = ground.numbers[state.process_index :: state.num_processes]
    open_ones = [number for number in share if not row.scores.has(number)]
    truth = folder.truth(method.spec.size)
    for number in tqdm(open_ones, desc=plan.label, unit="clip", disable=not state.is_main_process):
        answer(ground, method, row, number, samples[number], device, truth)
    state.wait_for_everyone()


def answer(
    ground: Ground, method: Method, row: RowFolder, number: int, sample: ChunkPair, device: torch.device, truth: Scores
) -> None:
    """Predict one clip, where that was not done, and score it."""
    if row.predictions.missing([number]):
        seeds = clip_seeds(ground.config.seed, ground.clips.sha256, number, len(sample.cameras))
        row.predictions.write(number, *predict_clip(method, sample, seeds, ground.chunks, device))
    predicted, _ = row.predictions.read(number)
    future = sample.future_NGCHW[:, : predicted.shape[1]]
    if not truth.has(number):
        truth.write(number, features_of(future, ground.extractors, ground.chunks))
    features = features_of(predicted, ground.extractors, ground.chunks)
    row.scores.write(number, scores_of(predicted, future) | features)


def device_of(method: Method) -> torch.device:
    """Where its weights are."""
    for module in method.networks.values():
        for weight in module.parameters():
            return weight.device
    return torch.device("cpu")


def samples_of(clips: ClipList, numbers: Sequence[int]) -> list[Sample]:
    """The chosen clips; drives are numbered in the order of their names."""
    drives = {scene: drive for drive, scene in enumerate(sorted({clip.scene for clip in clips.clips}))}
    return [Sample(number, clips.clips[number].cameras, drives[clips.clips[number].scene]) for number in numbers]
