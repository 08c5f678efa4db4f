"""Numbers per frame that are drawn beside the pictures.

Shape legend: N cameras, T frames, C colours (3), H height, W width.
"""

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from worldmodel.pixels import refuse_other_than_8_bit


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
