"""nuScenes: an index over the raw tables and chunk pairs of synchronised cameras.

index = open_index("data/nuscenes", "v1.0-mini")
pairs = chunk_pairs(index, split="mini_train", cameras=["CAM_FRONT"])
pair = pairs[0]      # observed_NFCHW [1, 17, 3, 256, 384] uint8, future_NGCHW, times, poses, ...
"""

from typing import TYPE_CHECKING, Any

from worldmodel.datasets.nuscenes.chains import RING
from worldmodel.datasets.nuscenes.index import NuScenesIndex, open_index
from worldmodel.datasets.nuscenes.splits import available_splits, official_splits, scenes_of_split

if TYPE_CHECKING:
    from worldmodel.datasets.nuscenes.pairs import NuScenesPairs, chunk_pairs

__all__ = [
    "RING",
    "NuScenesPairs",
    "NuScenesIndex",
    "available_splits",
    "chunk_pairs",
    "official_splits",
    "open_index",
    "scenes_of_split",
]


def __getattr__(name: str) -> Any:
    # The index alone needs no torch: opening it stays in the tens of megabytes.
    if name in ("NuScenesPairs", "chunk_pairs"):
        from worldmodel.datasets.nuscenes import pairs

        return getattr(pairs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
