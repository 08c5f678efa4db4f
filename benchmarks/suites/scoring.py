"""What one prediction scores on its own, kept beside it: everything that the whole table is added up from.

Per clip a file with, for every score of frames, [N, G] numbers, for the overlap of cameras [4], and for every
extractor, width and chunk of the rollout its features [N, R, D].

Shape legend: N cameras, G predicted frames, R feature rows, D feature width, H height, W width, 3 colours.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jaxtyping import UInt8
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.benchmarks.metrics.catalogue import CROSS_VIEW, Metrics
from worldmodel.benchmarks.metrics.cross_view import CrossView
from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.pairwise import PSNR, SSIM, Brightness, PairwiseScore, Perceptual, Sharpness
from worldmodel.datasets.pairs import PixelPair
from worldmodel.files import is_kept, remove_partial, save_tensors, written_whole

Frames = UInt8[Tensor, "N G 3 H W"]


class Scores:
    """Scores, or features alone, in `folder`, by the clip's number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """Of one clip."""
        return self.folder / f"{number:06d}.safetensors"

    def has(self, number: int) -> bool:
        """Whether that clip was scored."""
        return is_kept(self.path(number))

    def write(self, number: int, tensors: dict[str, Tensor]) -> None:
        """The file appears whole or not at all."""
        path = self.path(number)
        remove_partial(self.folder, path.name)
        with written_whole(path) as part:
            save_tensors(tensors, part)

    def read(self, number: int) -> dict[str, Tensor]:
        """Of one clip."""
        return load_file(self.path(number))

    def tensor(self, number: int, name: str) -> Tensor:
        """One of them."""
        with safe_open(self.path(number), framework="pt") as opened:
            return opened.get_tensor(name)


def pairwise_scores(metrics: Metrics, protocol: Protocol, cameras: Sequence[str]) -> list[PairwiseScore]:
    """All scores of a predicted frame against the true one, without clips yet."""
    plain = [kind(protocol, cameras) for kind in (PSNR, SSIM, Sharpness, Brightness)]
    return [*plain, *(Perceptual(network, protocol, cameras) for network in metrics.perceptual.values())]


def scores_of(predicted: Frames, sample: PixelPair, metrics: Metrics) -> dict[str, Tensor]:
    """Scores of every frame, [N, G] float64, by title; and what `CrossView` measures, [4]."""
    protocol = Protocol("", frames=predicted.shape[1])
    sample = _until(sample, predicted.shape[1])
    scores = {
        score.title: score.score(predicted, sample.future_NGCHW).double().cpu().contiguous()
        for score in pairwise_scores(metrics, protocol, sample.cameras)
    }
    if metrics.cross_view:
        scores[CROSS_VIEW] = CrossView(protocol).measured(predicted, sample)
    return scores


def _until(sample: PixelPair, future: int) -> PixelPair:
    """The sample with its first `future` future frames alone."""
    end = sample.observed_NFCHW.shape[1] + future
    return replace(
        sample,
        future_NGCHW=sample.future_NGCHW[:, :future],
        times_s=sample.times_s[:, :end],
        ego_poses=None if sample.ego_poses is None else sample.ego_poses[:, :end],
        paths=tuple(row[:end] for row in sample.paths),
    )


def features_of(frames: Frames, name: str, extractor: Extractor, chunks: int) -> dict[str, Tensor]:
    """Features [N, R, D] of every chunk, by `feature_name`."""
    return {
        feature_name(name, width, chunk): features.float().cpu().contiguous()
        for chunk, part in enumerate(frames.chunk(chunks, dim=1))
        for width, features in extractor(part).items()
    }


def feature_name(extractor: str, width: int, chunk: int) -> str:
    """Key of the features in a clip's file."""
    return f"{extractor}/{width}/{chunk}"
