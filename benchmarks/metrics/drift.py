"""Drift: what a rollout loses between its first and its last chunk.

A rollout of K chunks of C frames is scored frame by frame. The quality of chunk k is the mean of a score over its C
frames, all clips and cameras; **drift is the quality of the last chunk less that of the first**, taken clip by clip and
then averaged. With one chunk there is none.

Which scores, and how to read them:
- PSNR, SSIM, LPIPS get worse for every method, because the far future is not determined by the observed frames. Read
  them beside the row of repeating the last frame.
- Sharpness (ratio to the truth's) and brightness (difference from the truth's) compare with the truth of the same
  moment, but nothing has to be where it is there: their drift is damage, not uncertainty. 0 is no drift.
- Fréchet distances between predicted and real frames of the same chunk: the same, by what the features see.

Shape legend: S samples (clips of one camera), G predicted frames, K chunks.
"""

from dataclasses import dataclass, replace

from worldmodel.benchmarks.metrics.distribution import FrechetDistance, leave_out
from worldmodel.benchmarks.metrics.figure import MetricFigure
from worldmodel.benchmarks.metrics.pairwise import Curve, PairwiseScore
from worldmodel.benchmarks.metrics.spread import bootstrap_of_mean, jackknife
from worldmodel.benchmarks.metrics.statistics import distance
from worldmodel.errors import InputError


@dataclass(frozen=True)
class Drift:
    """Quality by chunk, and the last less the first."""

    by_chunk: Curve
    drift: MetricFigure


def drift_of(score: PairwiseScore, chunk_frames: int) -> Drift | None:
    """Of the frames that `score` has seen; None where they are one chunk.

    Raises:
        InputError: the frames are not whole chunks.
    """
    _, groups_S, values_SV = score.table()
    frames = values_SV.shape[1] - 1
    if frames % chunk_frames:
        raise InputError(f"drift: {frames} frames are not whole chunks of {chunk_frames}; predict whole chunks")
    if frames == chunk_frames:
        return None
    chunks_SK = values_SV[:, 1:].unflatten(1, (-1, chunk_frames)).mean(2)
    by_chunk = [bootstrap_of_mean(column, groups_S) for column in chunks_SK.T]
    spreads = tuple(spread.error for spread in by_chunk if spread is not None)
    lost_S = chunks_SK[:, -1] - chunks_SK[:, 0]
    drawn = bootstrap_of_mean(lost_S, groups_S)
    name = f"drift of {score.title}"
    better = score.better if score.better in ("lower", "higher") else "zero"
    figure = MetricFigure(name, float(lost_S.mean()), better, score.protocol, len(lost_S), score.unit)
    if drawn is not None:
        figure = replace(figure, spread=drawn.error, spread_kind="bootstrap", interval=drawn.interval)
    return Drift(Curve(name, tuple(chunks_SK.mean(0).tolist()), spreads or None), figure)


def drift_of_distances(first: FrechetDistance, last: FrechetDistance) -> MetricFigure:
    """The last chunk's distance less the first's, each on the frames of its chunk alone, with a jackknife over groups.

    Raises:
        InputError: fewer than two clips in a set.
    """
    first_sets, last_sets = first.sets(), last.sets()
    value = distance(*last_sets) - distance(*first_sets)
    figure = MetricFigure(f"drift of {first.name}", value, "lower", first.protocol, len(last_sets[1].samples_S))
    left = [leave_out(*first_sets), leave_out(*last_sets)]
    if left[0] is None or left[1] is None or left[0][1] != left[1][1]:
        return figure
    (without_first, groups), (without_last, _) = left[0], left[1]
    corrected, error = jackknife(value, lambda group: without_last(group) - without_first(group), groups)
    return replace(figure, jackknife=corrected, spread=error, spread_kind="jackknife")
