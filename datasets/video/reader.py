"""A video's frames as tensors.

Legend: F frames, H height, W width. What the pictures are: see `worldmodel.datasets.video.file`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.datasets.video.file import Numbers, VideoFile


class VideoReader(VideoFile):
    """One video file as tensors, read by PyAV."""

    def read(self, frames: Numbers, size: tuple[int, int] | None = None) -> UInt8[Tensor, "F 3 H W"]:
        """The frames of these numbers, in the order asked for, repeats allowed; otherwise as `VideoFile.arrays`."""
        return self.read_spans([frames], size)[0]

    def read_spans(self, spans: Sequence[Numbers], size: tuple[int, int] | None = None) -> list[Tensor]:
        """Several runs of frames with the file opened once, each UInt8 [F, 3, H, W]: see `VideoFile.arrays`."""
        return [torch.from_numpy(video_FCHW) for video_FCHW in self.arrays(spans, size)]
