"""Figures that the paper printed, for the column "published" beside our own. None of them was measured here.

Keys are method names of the registry; `flowframes_ltxv` and `flowframes_wan` are the two fine-tuned models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOURCE = "published: FlowFrames, Tables 1, 2 and 4"


@dataclass(frozen=True)
class Quality:
    """One row of Table 2: FID and FVD on 2,000 clips each of OpenVid and nuScenes; of unstated width and resize."""

    nfe: int
    openvid_fid: float
    openvid_fvd: float
    nuscenes_fid: float
    nuscenes_fvd: float


@dataclass(frozen=True)
class MemoryLine:
    """One row of Table 1: Mem(V) = k * V / 10^6 + b, in MB, of V latent numbers."""

    k: float
    b: float


QUALITY: dict[str, tuple[Quality, ...]] = {
    "vista": (Quality(50, 0.377, 184.327, 3.497, 368.082),),
    "gem": (Quality(117, 1.470, 413.600, 1.885, 251.133),),
    "ltxv_condition": (Quality(40, 0.459, 134.125, 1.749, 228.721),),
    "flowframes_ltxv": (Quality(5, 0.482, 129.199, 1.132, 185.479), Quality(10, 0.439, 124.967, 1.079, 172.861)),
    "causvid": (Quality(5, 0.299, 379.157, 1.277, 812.457),),
    "flowframes_wan": (Quality(5, 0.100, 105.512, 0.452, 158.970), Quality(10, 0.063, 98.455, 0.331, 125.632)),
}
MEMORY: dict[str, MemoryLine] = {
    "vista": MemoryLine(20244.37, 18430.21),
    "gem": MemoryLine(6934.35, 4194.67),
    "ltxv_condition": MemoryLine(7103.22, -660.92),
    "flowframes_ltxv": MemoryLine(3552.32, -308.35),
    "causvid": MemoryLine(93.35, 4003.58),
    "flowframes_wan": MemoryLine(48.64, 3998.74),
}


def quality_of(method: str, spec: Mapping[str, Any], clips: str) -> dict[str, float]:
    """FID and FVD of Table 2 for the same method, backbone, NFE and dataset; empty where the paper has none.

    Args:
        method: name in the registry. spec: of the row. clips: label of the clip list.
    """
    family = "ltxv" if spec["backbone"] == "ltx" else spec["backbone"]
    name = f"{method}_{family}" if family else method
    dataset = {"vista-val": "nuscenes", "flowframes-val": "nuscenes", "openvid-val": "openvid"}.get(clips.split("@")[0])
    for row in QUALITY.get(name, ()):
        if dataset and row.nfe == spec["nfe"]:
            return {"FID": getattr(row, f"{dataset}_fid"), "FVD": getattr(row, f"{dataset}_fvd")}
    return {}
