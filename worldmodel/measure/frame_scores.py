"""PSNR and SSIM of predicted frames, and the baseline that a prediction must beat: the last observed frame, repeated.

Shape legend: N cameras, F observed frames, G predicted frames, T frames with a truth, C colours (3), H height, W width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Shaped, UInt8
from torch import Tensor

from worldmodel.pixels import refuse_other_than_8_bit

EQUAL_DB = 100.0  # what an exactly equal frame counts as, so that means stay finite


@dataclass(frozen=True)
class FrameScores:
    """Per camera and frame: PSNR in dB and SSIM."""

    psnr_NT: Float64[np.ndarray, "N T"]
    ssim_NT: Float64[np.ndarray, "N T"]

    def of_frames(self, frames: int) -> "FrameScores":
        """Those of the first `frames` frames."""
        return FrameScores(self.psnr_NT[:, :frames], self.ssim_NT[:, :frames])

    def summary(self, cameras: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """Means over frames per camera, and over all as `mean`: `{"CAM_FRONT": {"psnr_db": .., "ssim": ..}, ..}`."""
        rows = [*zip(cameras, self.psnr_NT, self.ssim_NT, strict=True), ("mean", self.psnr_NT, self.ssim_NT)]
        return {
            name: {"psnr_db": round(float(psnr.mean()), 3), "ssim": round(float(ssim.mean()), 4)}
            for name, psnr, ssim in rows
        }


def psnr_per_frame(
    predicted_NTCHW: Shaped[Tensor, "N T 3 H W"], truth_NTCHW: Shaped[Tensor, "N T 3 H W"]
) -> Float64[np.ndarray, "N T"]:
    """10 log10(1 / MSE) in dB of 8-bit frames, in float64; infinite where they are equal.

    Raises:
        InputError: frames of another dtype.
    """
    refuse_other_than_8_bit("PSNR", predicted_NTCHW, truth_NTCHW)
    difference = predicted_NTCHW.to(torch.float64) - truth_NTCHW.to(torch.float64)
    mse_NT = (difference / 255.0).square().mean(dim=(2, 3, 4))
    return (-10.0 * torch.log10(mse_NT)).numpy()


def frame_scores(predicted_NTCHW: Shaped[Tensor, "N T 3 H W"], truth_NTCHW: Shaped[Tensor, "N T 3 H W"]) -> FrameScores:
    """Scores of 8-bit frames; SSIM is torchmetrics' (Gaussian window of 11, on RGB).

    Raises:
        InputError: frames of another dtype.
    """
    refuse_other_than_8_bit("PSNR and SSIM", predicted_NTCHW, truth_NTCHW)
    pairs = list(zip(predicted_NTCHW, truth_NTCHW, strict=True))  # camera by camera, for the memory's sake
    psnr_NT = np.concatenate([psnr_per_frame(predicted[None], truth[None]) for predicted, truth in pairs])
    ssim_NT = np.stack([_ssim(predicted, truth) for predicted, truth in pairs])
    return FrameScores(np.minimum(psnr_NT, EQUAL_DB), ssim_NT)


def _ssim(predicted_TCHW: Tensor, truth_TCHW: Tensor) -> Float64[np.ndarray, " T"]:
    from torchmetrics.functional.image import structural_similarity_index_measure

    # One frame at a time: torchmetrics takes ten times a frame's memory, and more at once is no faster on a CPU.
    scores = [
        structural_similarity_index_measure(predicted[None].float() / 255, truth[None].float() / 255, data_range=1.0)
        for predicted, truth in zip(predicted_TCHW, truth_TCHW, strict=True)
    ]
    return np.array([float(ssim) for ssim in scores])


def repeat_last(observed_NFCHW: UInt8[Tensor, "N F 3 H W"], frames: int) -> UInt8[Tensor, "N G 3 H W"]:
    """The last observed frame, `frames` times."""
    return observed_NFCHW[:, -1:].repeat(1, frames, 1, 1, 1)
