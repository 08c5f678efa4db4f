"""suite=quality, nfe and horizon: every row predicts every clip, in any number of processes, then all is added up.

Predictions and scores are files by clip; a process takes every so manyth clip, so that one process or several, killed
or not, leave the same files and hence the same results.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.documents import read_clip_list
from worldmodel.benchmarks.clips.reader import open_clips
from worldmodel.benchmarks.clips.registry import ClipsConfig, clip_list
from worldmodel.benchmarks.methods.method import Method, Spec
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.metrics.catalogue import AUTO, CROSS_VIEW, Instruments, open_instruments
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.hashes import hashed_once
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.folder import BenchmarkFolder, RowFolder
from worldmodel.benchmarks.suites.plan import Plan, plans
from worldmodel.benchmarks.suites.predictions import clip_seeds, predict_clip
from worldmodel.benchmarks.suites.references import References, Sample
from worldmodel.benchmarks.suites.scoring import Scores, features_of, scores_of
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError, UserError
from worldmodel.files import cache_folder
from worldmodel.measure.hashes import weights_hash

OBSERVED = 17


@dataclass
class Ground:
    """What all rows are run on.

    Attributes:
        clips: the list. numbers: those of it that are taken. chunks: of a rollout.
        instruments: what is measured. skipped: what was left out, and why.
    """

    config: BenchmarkConfig
    clips: ClipList
    numbers: list[int]
    instruments: Instruments
    skipped: dict[str, str]

    @property
    def chunks(self) -> int:
        return self.config.rollout

    @property
    def reading(self) -> str:
        """How frames are read, for what is kept of them: the pixels differ."""
        reader = self.config.video_reader
        return self.config.resampling if reader == "pyav" else f"{self.config.resampling}, {reader}"

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed benchmark must have in common with this one."""
        config = self.config
        return {
            "suite": config.suite, "seed": config.seed, "chunks": self.chunks, "resample": self.reading,
            "metrics": self.instruments.names,
            "clips": self.clips.label, "clips_sha256": self.clips.sha256, "numbers": self.numbers,
            "methods": {plan.label: {"method": plan.method, **plan.options} for plan in plans(config)},
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

    def samples(self, size: tuple[int, int]) -> Dataset[PixelPair]:
        """All clips at this size."""
        config = self.config
        observed, reader = self.clips.observed_frames, config.video_reader
        return open_clips(self.clips, config.root, size, observed, config.resampling, video_reader=reader)


def open_ground(config: BenchmarkConfig) -> Ground:
    """Build or read the clip list, and choose."""
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
        instruments = open_instruments(names, device=PartialState().device)
    if instruments.cross_view and (not clips.tables or min(len(clip.cameras) for clip in clips.clips) < 2):
        instruments.cross_view = False
        instruments.skipped[CROSS_VIEW] = "skipped: it needs clips of two or more calibrated cameras"
    return Ground(config, clips, numbers, instruments, dict(instruments.skipped))


def fill(ground: Ground, folder: BenchmarkFolder) -> dict[str, str]:
    """Predict and score what is missing; the rows that are there then, label -> method. All processes call it.

    Raises:
        InputError: every row was left out, because it lacks weights or needs other frames than the clips have.
    """
    state, labels = PartialState(), {}
    with state.main_process_first():
        if state.is_main_process:
            folder.prepare(ground.settings, ground.config.resume, ground.config.overwrite)
    for plan in plans(ground.config):
        try:
            method = open_method(plan.method, plan.options)
            refuse_misfit(method.spec, ground.clips, ground.chunks)
        except UserError as error:
            ground.skipped[plan.label] = str(error)
            continue
        fill_row(ground, plan, method, folder, state)
        labels[plan.label] = plan.method
    if not labels:
        if state.is_main_process:
            folder.discard_unused()
        said = "; ".join(f"{plan.label}: {ground.skipped[plan.label]}" for plan in plans(ground.config))
        raise InputError(f"clips={ground.clips.label}: every row was left out: {said}")
    return labels


def refuse_misfit(spec: Spec, clips: ClipList, chunks: int) -> None:
    """Raises `InputError` where the clips have fewer observed or future frames than the method needs."""
    observed, future = 0 if spec.sees_truth else spec.observed_frames, chunks * spec.future_frames
    given = clips.observed_frames, clips.frames - clips.observed_frames
    if observed > given[0] or future > given[1]:
        rollout = "" if chunks == 1 else f" ({chunks} chunks of {spec.future_frames})"
        raise InputError(
            f"{spec.name} needs {observed} observed and {future} future frames{rollout}, clips of {clips.label} have"
            f" {given[0]} and {given[1]}; give it other frames, or take other clips"
        )


def fill_row(ground: Ground, plan: Plan, method: Method, folder: BenchmarkFolder, state: PartialState) -> None:
    """This process' share of one row."""
    row, spec = folder.row(plan.label), method.spec
    with state.main_process_first():
        if state.is_main_process:
            row.say(asdict(spec), {name: weights_hash(module) for name, module in method.networks.items()})
    samples = ground.samples(spec.size)
    instruments = ground.instruments.for_frames(spec.future_frames)
    truth = {
        name: folder.truth(spec.future_frames, spec.size, name)
        for name, extractor in instruments.extractors.items()
        if ground.references.missing(extractor, spec.size, spec.future_frames)
    }
    share = ground.numbers[state.process_index :: state.num_processes]
    open_ones = [number for number in share if not all(one.has(number) for one in (row.scores, *truth.values()))]
    for number in tqdm(open_ones, desc=plan.label, unit="clip", disable=not state.is_main_process):
        sample = samples[number]
        for name, features in truth.items():
            see_truth(ground, name, features, number, sample, spec.future_frames)
        if not row.scores.has(number):
            answer(ground, method, instruments, row, number, sample)
    state.wait_for_everyone()


def see_truth(ground: Ground, name: str, truth: Scores, number: int, sample: PixelPair, frames: int) -> None:
    """Features of one clip's true frames, where they are not there."""
    if not truth.has(number):
        future = sample.future_NGCHW[:, : frames * ground.chunks]
        truth.write(number, features_of(future, name, ground.instruments.extractors[name], ground.chunks))


def answer(
    ground: Ground, method: Method, instruments: Instruments, row: RowFolder, number: int, sample: PixelPair
) -> None:
    """Predict one clip, where that was not done, and score it."""
    if row.predictions.missing([number]):
        clip = ground.clips.clips[number]
        method.clip_name, method.caption = clip.scene, clip.caption
        seeds = clip_seeds(ground.config.seed, ground.clips.sha256, number, len(sample.cameras))
        row.predictions.write(number, *predict_clip(method, sample, seeds, ground.chunks, method.device))
    predicted, _ = row.predictions.read(number)
    found = scores_of(predicted, sample, instruments)
    for name, extractor in instruments.extractors.items():
        found |= features_of(predicted, name, extractor, ground.chunks)
    row.scores.write(number, found)


def samples_of(clips: ClipList, numbers: Sequence[int]) -> list[Sample]:
    """The chosen clips; drives are numbered in the order of their names."""
    drives = {scene: drive for drive, scene in enumerate(sorted({clip.scene for clip in clips.clips}))}
    return [Sample(number, clips.clips[number].cameras, drives[clips.clips[number].scene]) for number in numbers]
