"""What one prediction scores on its own, kept beside it: everything that the whole table is added up from.

Per clip a file with, for every score of frames, [N, G] numbers, and for every extractor, width and chunk of the rollout
its features [N, R, D]. The truth's features lie in files of their own, once for every size of frames.

Shape legend: N cameras, G predicted frames, R feature rows, D feature width, H height, W width, 3 colours.
"""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import UInt8
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.pairwise import PSNR, SSIM, Brightness, PairwiseScore, Sharpness
from worldmodel.files import remove_partial, save_tensors, written_whole

PAIRWISE: dict[str, type[PairwiseScore]] = {one.title: one for one in (PSNR, SSIM, Sharpness, Brightness)}

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
        return self.path(number).is_file()

    def write(self, number: int, tensors: dict[str, Tensor]) -> None:
        """The file appears whole or not at all."""
        path = self.path(number)
        remove_partial(self.folder, path.name)
        with written_whole(path) as part:
            save_tensors(tensors, part)

    def read(self, number: int) -> dict[str, Tensor]:
        """Of one clip."""
        return load_file(self.path(number))


def scores_of(predicted: Frames, truth: Frames) -> dict[str, Tensor]:
    """Scores of every frame, [N, G] float64, by title."""
    protocol = Protocol("", frames=predicted.shape[1])
    cameras = [str(number) for number in range(len(predicted))]
    return {
        title: score(protocol, cameras).score(predicted, truth).double().contiguous()
        for title, score in PAIRWISE.items()
    }


def features_of(frames: Frames, extractors: Mapping[str, Extractor], chunks: int) -> dict[str, Tensor]:
    """Features [N, R, D] of every chunk, by `feature_name`."""
    found = {}
    for name, extractor in extractors.items():
        for chunk, part in enumerate(frames.chunk(chunks, dim=1)):
            for width, features in extractor(part).items():
                found[feature_name(name, width, chunk)] = features.float().cpu().contiguous()
    return found


def feature_name(extractor: str, width: int, chunk: int) -> str:
    """Key of the features in a clip's file."""
    return f"{extractor}/{width}/{chunk}"
