"""The nouns of the data path: what a camera saw, cut into an observed and a future chunk.

Shape legend: N cameras, F observed frames, G future frames, C colours (3), H height, W width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class ChunkPair:
    """One coupling: the observed chunk of N synchronised cameras and the chunk right after it.

    Attributes:
        scene: name of the drive, for example ``scene-0103``.
        cameras: N camera names, in the order of the leading axis of everything below.
        observed_NFCHW, future_NGCHW: RGB frames, uint8.
        times_s: capture times in seconds, observed then future; cameras need not fire in step.
        intrinsics: pinhole matrices in pixels **of the frames given here** (after crop and resize).
        extrinsics: camera to ego vehicle, metres.
        ego_poses: ego vehicle to global frame at each frame's own time, metres.
        frame_rate: nominal frames per second (12 for nuScenes sweeps).
        paths: image file behind each frame, N rows of F + G, empty where frames came from a video.
    """

    scene: str
    cameras: tuple[str, ...]
    observed_NFCHW: UInt8[Tensor, "N F 3 H W"]
    future_NGCHW: UInt8[Tensor, "N G 3 H W"]
    times_s: Float64[np.ndarray, "N F+G"]
    intrinsics: Float64[np.ndarray, "N 3 3"] | None
    extrinsics: Float64[np.ndarray, "N 4 4"] | None
    ego_poses: Float64[np.ndarray, "N F+G 4 4"] | None
    frame_rate: float
    paths: tuple[tuple[str, ...], ...] = ()
