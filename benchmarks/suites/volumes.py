"""The rows and sizes of suite=memory and suite=latency: published networks with random weights.

Memory is measured at the five volumes of the paper's Table 5. V is c f h w of the observed chunk's latents; the table's
columns of frames are read so that V comes out as printed (its F_SVD is shifted by one row, and F_LTXV and F_Wan are
pixel frames, though the caption says latent).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldmodel.conventions import PAPER, MemoryProtocol
from worldmodel.errors import InputError


@dataclass(frozen=True)
class VolumeTable:
    """Methods of one VAE.

    Attributes:
        channels, temporal, spatial: of its latents. size, frames: of the paper's five volumes.
        small_size, small_frames: the same for tiny random networks, whose ratios are `small`.
    """

    channels: int
    temporal: int
    spatial: int
    size: tuple[int, int]
    frames: tuple[int, ...]
    small: tuple[int, int, int]
    small_size: tuple[int, int]
    small_frames: tuple[int, ...]

    def length(self, which: int, small: bool, protocol: MemoryProtocol) -> int:
        """Observed frames at the `which`th size; the published code's own are known for LTX."""
        own = protocol.own_frames if self is LTX and not small else None
        return (own or (self.small_frames if small else self.frames))[which]

    def volume(self, which: int, small: bool, protocol: MemoryProtocol = PAPER.memory) -> int:
        """V of the `which`th size; the published code, which counts both chunks, knows LTX and Wan only."""
        channels, temporal, spatial = self.small if small else (self.channels, self.temporal, self.spatial)
        height, width = self.small_size if small else self.size
        chunks = 1 if self is SVD else protocol.volume_chunks
        latents = (self.length(which, small, protocol) - 1) // temporal + 1
        return chunks * channels * latents * (height // spatial) * (width // spatial)


LTX = VolumeTable(128, 8, 32, (480, 832), (41, 57, 73, 89, 137), (32, 8, 16), (64, 96), (9, 17, 25, 33, 41))
WAN = VolumeTable(16, 4, 8, (480, 832), (9, 13, 17, 21, 33), (16, 4, 8), (64, 96), (9, 13, 17, 21, 33))
SVD = VolumeTable(4, 1, 8, (576, 1024), (8, 10, 13, 16, 24), (4, 1, 8), (64, 128), (4, 5, 6, 8, 10))
Options = dict[str, Any]
"""Of a method, by key."""
RANDOM = {"weights": "random"}
ROWS: dict[str, tuple[VolumeTable, str, Options]] = {
    "flowframes_ltxv": (LTX, "flowframes", {"checkpoint": "random", "family": "ltx"}),
    "ltxv_condition": (LTX, "ltxv_condition", RANDOM),
    "flowframes_wan": (WAN, "flowframes", {"checkpoint": "random", "family": "wan"}),
    "causvid": (WAN, "causvid", RANDOM),
    "self_forcing": (WAN, "self_forcing", RANDOM),
    "causal_forcing": (WAN, "causal_forcing", RANDOM),
    "vista": (SVD, "vista", RANDOM),
    "gem": (SVD, "gem", RANDOM),
}
"""Row -> its VAE's family, its method, and that method's options."""
CAUSAL = ("causvid", "self_forcing", "causal_forcing")
PROMPTED = ("flowframes", "ltxv_condition")  # guided between two prompts; Vista and GEM are by their images
SMALL_STEPS = {"flowframes": 2, "ltxv_condition": 3, "vista": 3, "gem": 25}


def options_at(
    label: str,
    which: int | None,
    small: bool,
    guided: bool,
    given: Mapping[str, Any],
    protocol: MemoryProtocol = PAPER.memory,
) -> Options:
    """Options of a row at the `which`th volume, or, with None, as the paper's Table 4 runs it."""
    family, method, options = _row(label)
    options = dict(options)
    if guided and method in PROMPTED:
        options |= {"prompt": "random", "negative_prompt": "random"}
    if small:
        options |= {"sizes": "tiny", "size": family.small_size}
        options |= {"steps": SMALL_STEPS[method]} if method in SMALL_STEPS else {}
    if which is not None:
        frames = family.length(which, small, protocol)
        options |= {"size": family.small_size if small else family.size, **_lengths(family, method, frames)}
    return options | dict(given)


def volume_of(label: str, which: int, small: bool, protocol: MemoryProtocol = PAPER.memory) -> int:
    """Latent numbers at the `which`th volume: of the observed chunk, or as the protocol counts them."""
    return _row(label)[0].volume(which, small, protocol)


def method_of(label: str) -> str:
    """Name in the registry."""
    return _row(label)[1]


def _lengths(family: VolumeTable, method: str, frames: int) -> Options:
    """As many frames predicted as observed."""
    if method == "flowframes":
        return {"frames": frames}
    lengths: Options = {"observed_frames": frames, "future_frames": frames}
    if method in CAUSAL:
        lengths["block"] = (frames - 1) // family.temporal + 1
    return lengths | ({"given": frames} if family is SVD else {})


def _row(label: str) -> tuple[VolumeTable, str, Options]:
    if label not in ROWS:
        raise InputError(f"methods.{label}: memory and latency know {', '.join(ROWS)}; choose among these")
    return ROWS[label]
