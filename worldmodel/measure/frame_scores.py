"""PSNR and SSIM of predicted frames, the two lines between which a prediction lies, and the table of them.

Below: repeating the last observed frame. Above: the truth sent through the VAE and back, which no prediction decoded
by that VAE passes except by luck.

Shape legend: N cameras, F observed frames, G predicted frames, T frames with a truth, C colours (3), H height, W width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Shaped, UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.measure.curves import psnr_per_frame
from worldmodel.pixels import refuse_other_than_8_bit, signed_from_uint8, to_uint8, unit_from_signed

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
    each = [
        structural_similarity_index_measure(one[None].float() / 255, other[None].float() / 255, data_range=1.0)
        for one, other in zip(predicted_TCHW, truth_TCHW, strict=True)
    ]
    return np.array([float(ssim) for ssim in each])


def repeat_last(observed_NFCHW: UInt8[Tensor, "N F 3 H W"], frames: int) -> UInt8[Tensor, "N G 3 H W"]:
    """The last observed frame, `frames` times."""
    return observed_NFCHW[:, -1:].repeat(1, frames, 1, 1, 1)


@torch.no_grad()
def vae_round_trip(
    backbone: Backbone, truth_NTCHW: Shaped[Tensor, "N T 3 H W"], chunk_frames: int
) -> UInt8[Tensor, "N G 3 H W"]:
    """The truth, 8-bit, encoded (posterior mean) and decoded, chunk by chunk as a rollout decodes; whole chunks only.

    Raises:
        InputError: frames of another dtype.
    """
    refuse_other_than_8_bit("VAE round trip", truth_NTCHW)
    device = next(backbone.vae.parameters()).device
    chunks = truth_NTCHW.split(chunk_frames, dim=1)
    whole = [chunk_NFCHW for chunk_NFCHW in chunks if chunk_NFCHW.shape[1] == chunk_frames]
    passed = [_round_trip(backbone, camera_FCHW[None], device) for chunk in whole for camera_FCHW in chunk]
    cameras = len(truth_NTCHW)
    by_chunk = [torch.cat(passed[start : start + cameras]) for start in range(0, len(passed), cameras)]
    return torch.cat(by_chunk, dim=1) if by_chunk else truth_NTCHW[:, :0]


def _round_trip(backbone: Backbone, video_BFCHW: Tensor, device: torch.device) -> UInt8[Tensor, "B F 3 H W"]:
    video_BCFHW = signed_from_uint8(video_BFCHW.to(device)).transpose(1, 2)
    decoded_BCFHW = backbone.decode(backbone.encode(video_BCFHW).mean_BCfhw)
    return to_uint8(unit_from_signed(decoded_BCFHW.float()).transpose(1, 2))


def table(summaries: dict[str, dict[str, dict[str, float]]], cameras: tuple[str, ...]) -> str:
    """Methods side by side, cameras below each other, their mean last.

    Args:
        summaries: `FrameScores.summary` by method name.
    """
    first = max(len(name) for name in (*cameras, "camera"))
    widths = {method: max(14, len(method)) for method in summaries}
    head = "  ".join([" " * first, *(method.rjust(width) for method, width in widths.items())])
    units = "  ".join(["camera".ljust(first), *("PSNR   SSIM".rjust(width) for width in widths.values())])
    rows = [
        "  ".join(
            [name.ljust(first), *(_cell(summaries[method][name]).rjust(width) for method, width in widths.items())]
        )
        for name in (*cameras, "mean")
    ]
    return "\n".join([head, units, *rows])


def _cell(score: dict[str, Any]) -> str:
    return f"{score['psnr_db']:6.2f} {score['ssim']:6.3f}"
