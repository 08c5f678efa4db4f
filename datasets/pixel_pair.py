"""The nouns of the data path: what a camera saw, cut into an observed and a future chunk.

Shape legend: N cameras, F observed frames, G future frames, C colours (3), H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class PixelPair:
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
        notes: where the chunk is not the one asked for, and why.
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
    notes: tuple[str, ...] = ()


def collate(pairs: Sequence[PixelPair]) -> dict[str, Any]:
    """Stack pairs of one shape into a batch; give it to a `DataLoader` as `collate_fn`.

    Returns:
        ``observed_BNFCHW`` and ``future_BNGCHW`` uint8, ``times_s`` [B, N, F+G], ``intrinsics`` [B, N, 3, 3],
        ``extrinsics`` [B, N, 4, 4], ``ego_poses`` [B, N, F+G, 4, 4] float64 (None unless every pair has them),
        ``frame_rate`` [B] float64, and lists of B: ``scene``, ``cameras``, ``paths``.
    """
    batch: dict[str, Any] = {
        "observed_BNFCHW": torch.stack([pair.observed_NFCHW for pair in pairs]),
        "future_BNGCHW": torch.stack([pair.future_NGCHW for pair in pairs]),
        "frame_rate": torch.tensor([pair.frame_rate for pair in pairs], dtype=torch.float64),
    }
    for name in ("times_s", "intrinsics", "extrinsics", "ego_poses"):
        arrays = [getattr(pair, name) for pair in pairs]
        batch[name] = None if any(array is None for array in arrays) else torch.from_numpy(np.stack(arrays))
    return batch | {name: [getattr(pair, name) for pair in pairs] for name in ("scene", "cameras", "paths")}
