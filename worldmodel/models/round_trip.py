"""The upper bound of a prediction: the truth sent through the VAE and back, which no prediction by that VAE passes.

Shape legend: N cameras, B videos, T frames with a truth, F frames of a chunk, G frames passed, C colours (3), H height,
W width.
"""

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.pixels import refuse_other_than_8_bit, signed_from_uint8, to_uint8, unit_from_signed


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
    chunks = torch.split(truth_NTCHW, chunk_frames, dim=1)
    passed = [
        torch.cat([_round_trip(backbone, camera_FCHW[None], device) for camera_FCHW in chunk_NFCHW])
        for chunk_NFCHW in chunks
        if chunk_NFCHW.shape[1] == chunk_frames
    ]
    return torch.cat(passed, dim=1) if passed else truth_NTCHW[:, :0]


def _round_trip(backbone: Backbone, video_BFCHW: Tensor, device: torch.device) -> UInt8[Tensor, "B F 3 H W"]:
    video_BCFHW = signed_from_uint8(video_BFCHW.to(device)).transpose(1, 2)
    decoded_BCFHW = backbone.decode(backbone.encode(video_BCFHW).mean_BCfhw)
    return to_uint8(unit_from_signed(decoded_BCFHW.float()).transpose(1, 2))
