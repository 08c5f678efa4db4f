"""From the seconds of all processes to the figures of the tables.

A round is one process of each entry. Ratios are taken within a round, where the machine was as busy for the one as for
the other, and the median of the rounds' ratios is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from worldmodel.export.bench.config import BenchEntry
from worldmodel.export.bench.measurement import TORCH, Measured, Memory, RolloutTime
from worldmodel.export.runtime.artifact import Artifact

Rounds = Sequence[Measured | None]
"""What an entry measured in each round; None where it did not run."""

Seconds = Sequence[Sequence[float]]
"""Of each run, by round; a round may be empty."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds over all runs of all rounds; `speedup` above 1 is faster than the reference, None without one."""

    median_ms: float
    p90_ms: float
    best_ms: float
    speedup: float | None


@dataclass(frozen=True)
class Disk:
    """MB of 10^6 bytes of the step and of all parts, and how many times smaller than the first artifact's."""

    step_mb: float
    all_mb: float
    step_smaller: float
    all_smaller: float


@dataclass(frozen=True)
class Figures:
    """One entry.

    Attributes:
        precision: of encoder, step and decoder.
        rounds: in which it ran.
        prediction: of all cameras at once; `times_real_time`: the seconds that a chunk lasts by its seconds.
        saved_share: of a rollout's time when it goes on from latents instead of frames.
        load_seconds: of the first round, until each part had run once; later ones find compiled kernels and files in
            caches.
        memory: the most of all rounds.
        disk: None for torch.
    """

    entry: str
    backend: str
    artifact: str | None
    precision: tuple[str, str, str]
    rounds: int
    parts: dict[str, Timing]
    prediction: Timing | None
    times_real_time: float | None
    rollouts: dict[str, RolloutTime]
    saved_share: float | None
    load_seconds: float
    memory: Memory
    disk: Disk | None


def figures_of(entry: BenchEntry, rounds: Rounds, reference: Rounds, first: Artifact) -> Figures:
    """The figures of an entry that ran at least once, beside those of `reference`."""
    ran, manifest = [measured for measured in rounds if measured is not None], entry.artifact.manifest
    parts = {
        part: timing(
            [seconds.get(part, ()) for seconds in parts_of(rounds)],
            [seconds.get(part, ()) for seconds in parts_of(reference)],
        )
        for part in entry.request.parts
    }
    predictions = timing(predictions_of(rounds), predictions_of(reference)) if entry.request.end_to_end else None
    return Figures(
        entry=entry.name,
        backend=entry.backend,
        artifact=None if entry.backend in TORCH else str(entry.artifact.folder),
        precision=entry.precision,
        rounds=len(ran),
        parts=parts,
        prediction=predictions,
        times_real_time=1e3 * manifest.frames / manifest.frame_rate / predictions.median_ms if predictions else None,
        rollouts={feed: rollout_of(feed, ran) for feed in ran[0].rollouts},
        saved_share=saved_share(ran) if ran[0].rollouts else None,
        load_seconds=ran[0].load_seconds + ran[0].first_seconds,
        memory=largest([measured.memory for measured in ran]),
        disk=None if entry.backend in TORCH else disk_of(entry.artifact, first),
    )


def parts_of(rounds: Rounds) -> list[Mapping[str, Sequence[float]]]:
    """Seconds of the parts, by round."""
    return [measured.parts if measured is not None else {} for measured in rounds]


def predictions_of(rounds: Rounds) -> Seconds:
    """Seconds of whole predictions, by round."""
    return [measured.predictions if measured is not None else () for measured in rounds]


def timing(rounds: Seconds, reference: Seconds) -> Timing:
    """Statistics of all runs, and the speed-up over the rounds that both have."""
    runs = [1e3 * run for seconds in rounds for run in seconds]
    ratios = [median(theirs) / median(own) for own, theirs in zip(rounds, reference, strict=True) if own and theirs]
    return Timing(median(runs), float(np.percentile(runs, 90)), min(runs), median(ratios) if ratios else None)


def rollout_of(feed: str, ran: Sequence[Measured]) -> RolloutTime:
    """The median of all rounds."""
    return RolloutTime(median(measured.rollouts[feed].seconds for measured in ran), ran[0].rollouts[feed].encoder_calls)


def saved_share(ran: Sequence[Measured]) -> float:
    """What latents save of a rollout's time, round by round."""
    return median(1 - run.rollouts["latents"].seconds / run.rollouts["frames"].seconds for run in ran)


def largest(memories: Sequence[Memory]) -> Memory:
    """The most of each."""
    columns = zip(*((memory.before, memory.loading, memory.working, memory.gpu) for memory in memories), strict=True)
    return Memory(*(max((held for held in column if held is not None), default=None) for column in columns))


def disk_of(artifact: Artifact, first: Artifact) -> Disk:
    """What lies on the disk for a prediction."""
    step, all_parts = megabytes(artifact, "step"), megabytes(artifact, *artifact.parts)
    return Disk(step, all_parts, megabytes(first, "step") / step, megabytes(first, *first.parts) / all_parts)


def megabytes(artifact: Artifact, *parts: str) -> float:
    """Of the graphs and weights of some parts."""
    return sum((artifact.folder / name).stat().st_size for name in set(artifact.manifest.files_of(*parts))) / 1e6
