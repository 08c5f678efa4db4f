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

Shape legend: S samples (clips of one camera), G predicted frames, K chunks, B samples of a batch.
"""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from worldmodel.benchmarks.metrics.distribution import FrechetDistance, leave_out
from worldmodel.benchmarks.metrics.figure import Figure, Protocol
from worldmodel.benchmarks.metrics.pairwise import Curve, PairwiseScore
from worldmodel.benchmarks.metrics.spread import bootstrap_of_mean, jackknife
from worldmodel.benchmarks.metrics.statistics import distance
from worldmodel.errors import InputError


@dataclass(frozen=True)
class Drift:
    """Quality by chunk, and the last less the first."""

    by_chunk: Curve
    drift: Figure


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
    spreads = tuple(each.error for each in by_chunk if each is not None)
    lost_S = chunks_SK[:, -1] - chunks_SK[:, 0]
    drawn = bootstrap_of_mean(lost_S, groups_S)
    name = f"drift of {score.title}"
    better = score.better if score.better in ("lower", "higher") else "zero"
    found = Figure(name, float(lost_S.mean()), better, score.protocol, len(lost_S), score.unit)
    if drawn is not None:
        found = replace(found, spread=drawn.error, spread_kind="bootstrap", interval=drawn.interval)
    return Drift(Curve(name, tuple(chunks_SK.mean(0).tolist()), spreads or None), found)


class FrechetByChunk(nn.Module):
    """A Fréchet distance for every chunk of a rollout, on the frames of that chunk alone."""

    def __init__(self, name: str, protocol: Protocol, chunks: int, rows: int = 1, **options: Any) -> None:
        """Arguments as `FrechetDistance`; `protocol.frames` is the number of frames of one chunk."""
        super().__init__()
        self.name = name
        self.chunks = nn.ModuleList(
            FrechetDistance(f"{name}[chunk {chunk + 1}]", protocol, rows, **options) for chunk in range(chunks)
        )

    def update(
        self,
        chunk: int,
        features_BRD: Float[Tensor, "B R D"],
        real: bool,
        samples_B: Int64[Tensor, " B"],
        groups_B: Int64[Tensor, " B"] | None = None,
    ) -> None:
        """Add the features of chunk 0, 1, ... of some clips; the rest as `FrechetDistance.update`."""
        self.chunks[chunk].update(features_BRD, real, samples_B, groups_B)  # type: ignore[operator]

    def figures(self) -> tuple[Figure, ...]:
        """The distance of every chunk; the same on every process."""
        return tuple(each.figure() for each in self.chunks)  # type: ignore[operator]

    def drift(self) -> Figure | None:
        """The last chunk's distance less the first's, with a jackknife over groups; None for one chunk."""
        if len(self.chunks) == 1:
            return None
        chunks: list[Any] = list(self.chunks)
        first, last = chunks[0].sets(), chunks[-1].sets()
        value = distance(*last) - distance(*first)
        found = Figure(f"drift of {self.name}", value, "lower", chunks[0].protocol, len(last[1].samples_S))
        left = [leave_out(*first), leave_out(*last)]
        if left[0] is None or left[1] is None or left[0][1] != left[1][1]:
            return found
        (without_first, groups), (without_last, _) = left[0], left[1]
        corrected, error = jackknife(value, lambda group: without_last(group) - without_first(group), groups)
        return replace(found, jackknife=corrected, spread=error, spread_kind="jackknife")
