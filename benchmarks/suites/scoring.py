"""What one prediction scores on its own, kept beside it: everything that the whole table is added up from.

Shape legend: N cameras, G predicted frames, H height, W width, 3 colours.
"""

from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.files import remove_partial, save_tensors, written_whole
from worldmodel.scores import frame_scores


class Scores:
    """Scores of one row in `folder`, by the clip's number: `psnr_db` and `ssim`, each [N, G] float64."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """Of one clip."""
        return self.folder / f"{number:06d}.safetensors"

    def has(self, number: int) -> bool:
        """Whether that clip was scored."""
        return self.path(number).is_file()

    def write(self, number: int, predicted: UInt8[Tensor, "N G 3 H W"], truth: UInt8[Tensor, "N G 3 H W"]) -> None:
        """Score one clip; the file appears whole or not at all."""
        found = frame_scores(predicted, truth)
        path = self.path(number)
        remove_partial(self.folder, path.name)
        with written_whole(path) as part:
            save_tensors({"psnr_db": torch.from_numpy(found.psnr_NT), "ssim": torch.from_numpy(found.ssim_NT)}, part)

    def read(self, number: int) -> dict[str, Tensor]:
        """Of one clip."""
        return load_file(self.path(number))
