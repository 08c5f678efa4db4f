"""What a run reads: random crops of single chunks for a VAE, pairs of consecutive chunks for a flow.

Shape legend: F frames, H height, W width, 3 colours; 2 the observed and the future chunk.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from worldmodel.datasets.frame_store import FrameStore
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError
from worldmodel.training.order import Place

logger = logging.getLogger(__name__)
MOST_BAD = 50  # samples in a row


@runtime_checkable
class Pairs(Protocol):
    """Chunk pairs of one shape, one camera each. `identity` changes when any frame does.

    A sample has `frames` uint8 [2, 3, F, H, W] and `frame_rate`, frames a second; where captions are asked for, also
    `caption`, which may be empty.
    """

    @property
    def identity(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> dict[str, Any]: ...


class ChunkCrops(Dataset[dict[str, Tensor]]):
    """Chunks of a frame store, each cropped at a random place drawn from torch's generator: `chunk` [3, F, h, w]."""

    def __init__(self, store: FrameStore, frames: int, stride: int, crop: tuple[int, int]) -> None:
        height, width = store.frames_SHW3.shape[1:3]
        if crop[0] > height or crop[1] > width:
            raise InputError(f"autoencoder.crop={list(crop)} is larger than the frames; use at most [{height},{width}]")
        self.store, self.frames, self.crop, self.identity = store, frames, crop, store.identity
        self.starts = [start for track in store.tracks for start in track.windows(frames, stride)]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> dict[str, UInt8[Tensor, "3 F h w"]]:
        chunk = self.store.chunk(self.starts[number], self.frames)
        top, left = (
            int(torch.randint(full - part + 1, ())) for full, part in zip(chunk.shape[2:], self.crop, strict=True)
        )
        return {"chunk": chunk[:, :, top : top + self.crop[0], left : left + self.crop[1]].contiguous()}


class StorePairs(Dataset[dict[str, Any]]):
    """All pairs of a frame store, every `stride` frames: see `Pairs`."""

    def __init__(self, store: FrameStore, frames: int, stride: int) -> None:
        self.store, self.frames = store, frames
        self.starts = [start for track in store.tracks for start in track.windows(2 * frames, stride)]
        self.identity = hashlib.sha256(f"{store.identity} {frames} {stride}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> dict[str, Any]:
        first = self.starts[number]
        both = [self.store.chunk(first + shift, self.frames) for shift in (0, self.frames)]
        return {"frames": torch.stack(both), "frame_rate": self.store.frame_rate}


class ClipPairs(Dataset[dict[str, Any]]):
    """`PixelPair`s of one camera each, from one or several sequences after each other: see `Pairs`.

    `captions` gives the text of pair `number`; None where there is none.
    """

    def __init__(self, sequences: Sequence[Any], identity: str, captions: Callable[[int], str] | None = None) -> None:
        self.sequences, self.identity, self.captions = list(sequences), identity, captions
        self.ends = torch.tensor([len(sequence) for sequence in sequences]).cumsum(0).tolist()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, number: int) -> dict[str, Any]:
        which = next(at for at, end in enumerate(self.ends) if number < end)
        pair: PixelPair = self.sequences[which][number - (self.ends[which - 1] if which else 0)]
        both_2FCHW = torch.stack([pair.observed_NFCHW[0], pair.future_NGCHW[0]])
        return {"frames": both_2FCHW.transpose(1, 2).contiguous(), "frame_rate": pair.frame_rate}


class Captioned(Dataset[dict[str, Any]]):
    """The same pairs with their captions, which then belong to the identity; `captions` None is the empty one."""

    def __init__(self, pairs: Pairs, captions: Callable[[int], str] | None) -> None:
        self.pairs, self.captions = pairs, captions
        digest = hashlib.sha256(pairs.identity.encode())
        for number in range(len(pairs)):
            digest.update(f"{self._caption(number)}\0".encode())
        self.identity = digest.hexdigest()

    def _caption(self, number: int) -> str:
        return "" if self.captions is None else self.captions(number)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.pairs[number] | {"caption": self._caption(number)}


class Readable(Dataset[dict[str, Any]]):
    """The same pairs; one that cannot be read is replaced by the next that can, named in the log and counted.

    A replacement has `replaced` 1. Raises `InputError` where `MOST_BAD` in a row cannot be read.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.identity = pairs, pairs.identity

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> dict[str, Any]:
        for further in range(min(MOST_BAD, len(self))):
            try:
                return self.pairs[(number + further) % len(self)] | {"replaced": int(further > 0)}
            except InputError as error:
                logger.warning("left out: %s", error)
                last = error
        raise InputError(f"{MOST_BAD} samples in a row cannot be read; the last: {last}")


class Pool(Dataset[dict[str, Any]]):
    """Samples by their `Place`; each is read with torch's generator at its own seed and has that `seed` and `coin`.

    `pair` counts it among all samples, the same in every epoch.
    """

    def __init__(self, groups: Sequence[Any]) -> None:
        self.groups = list(groups)
        self.before = [0, *accumulate(map(len, groups))]

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(place.seed)
            sample = self.groups[place.group][place.number]
        return {**sample, "seed": place.seed, "coin": place.coin, "pair": self.before[place.group] + place.number}


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: pictures and latents stacked, single numbers as lists, which stay on the CPU."""
    rows = {name: [sample[name] for sample in samples] for name in samples[0]}
    return {
        name: torch.stack(row) if isinstance(row[0], Tensor) and row[0].ndim else [*map(_plain, row)]
        for name, row in rows.items()
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value
