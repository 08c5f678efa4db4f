"""What a run reads: random crops of single chunks for a VAE, pairs of consecutive chunks for a flow.

A dataset of a run is indexed by number and gives a `PixelPair`, a `LatentPair` (from a latent cache) or, for a VAE, the
crop alone. `Pool` reads them in the run's order, `collate` makes a `Batch` of them.

Shape legend: B samples, F frames, H height, W width, 3 colours; 2 the observed and the future chunk.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from worldmodel.datasets.frame_store import FrameStore
from worldmodel.datasets.pairs import Batch, LatentPair, PixelPair
from worldmodel.errors import InputError
from worldmodel.training.order import Place

logger = logging.getLogger(__name__)
MOST_BAD = 50  # samples in a row
Content = PixelPair | LatentPair | Tensor


@runtime_checkable
class Pairs(Protocol):
    """Chunk pairs of one shape, one camera each. `identity` changes when any frame does.

    A pair has a caption where captions are asked for; it may be empty.
    """

    @property
    def identity(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> PixelPair: ...


class ChunkCrops(Dataset[Tensor]):
    """Chunks of a frame store, each cropped at a random place drawn from torch's generator."""

    def __init__(self, store: FrameStore, frames: int, stride: int, crop: tuple[int, int]) -> None:
        height, width = store.frames_SHW3.shape[1:3]
        if crop[0] > height or crop[1] > width:
            raise InputError(f"autoencoder.crop={list(crop)} is larger than the frames; use at most [{height},{width}]")
        self.store, self.frames, self.crop, self.identity = store, frames, crop, store.identity
        self.starts = [start for track in store.tracks for start in track.windows(frames, stride)]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> UInt8[Tensor, "3 F h w"]:
        chunk = self.store.chunk(self.starts[number], self.frames)
        top, left = (
            int(torch.randint(full - part + 1, ())) for full, part in zip(chunk.shape[2:], self.crop, strict=True)
        )
        return chunk[:, :, top : top + self.crop[0], left : left + self.crop[1]].contiguous()


class StorePairs(Dataset[PixelPair]):
    """All pairs of a frame store, every `stride` frames: see `Pairs`."""

    def __init__(self, store: FrameStore, frames: int, stride: int) -> None:
        self.store, self.frames = store, frames
        self.places = [(track, start) for track in store.tracks for start in track.windows(2 * frames, stride)]
        self.identity = hashlib.sha256(f"{store.identity} {frames} {stride}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> PixelPair:
        track, start = self.places[number]
        chunks_3FHW = (self.store.chunk(first, self.frames) for first in (start, start + self.frames))
        observed_NFCHW, future_NFCHW = (chunk.transpose(0, 1)[None] for chunk in chunks_3FHW)
        no_times = np.full((1, 2 * self.frames), np.nan)
        return PixelPair(track.scene, (track.camera,), observed_NFCHW, future_NFCHW, no_times, self.store.frame_rate)


class ClipPairs(Dataset[PixelPair]):
    """Pairs of one camera each, from one or several sequences after each other: see `Pairs`.

    `captions` gives the text of pair `number`; None where there is none.
    """

    def __init__(self, sequences: Sequence[Any], identity: str, captions: Callable[[int], str] | None = None) -> None:
        self.sequences, self.identity, self.captions = list(sequences), identity, captions
        self.ends = [*accumulate(map(len, sequences))]

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, number: int) -> PixelPair:
        which = next(at for at, end in enumerate(self.ends) if number < end)
        pair: PixelPair = self.sequences[which][number - (self.ends[which - 1] if which else 0)]
        return pair


class Captioned(Dataset[PixelPair]):
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

    def __getitem__(self, number: int) -> PixelPair:
        return replace(self.pairs[number], caption=self._caption(number))


class Readable(Dataset[PixelPair]):
    """The same pairs; one that cannot be read is replaced by the next that can, named in the log and counted.

    Raises `InputError` where `MOST_BAD` in a row cannot be read.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.identity = pairs, pairs.identity

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> PixelPair:
        for further in range(min(MOST_BAD, len(self))):
            try:
                return replace(self.pairs[(number + further) % len(self)], replaced=further > 0)
            except InputError as error:
                logger.warning("left out: %s", error)
                last = error
        raise InputError(f"{MOST_BAD} samples in a row cannot be read; the last: {last}")


@dataclass(frozen=True)
class PooledSample:
    """What was read for a place of the order; `number` counts it among all samples, the same in every epoch."""

    content: Content
    place: Place
    number: int


class Pool(Dataset[PooledSample]):
    """The samples of all groups by their `Place`; each is read with torch's generator at its own seed."""

    def __init__(self, groups: Sequence[Any]) -> None:
        self.groups = list(groups)
        self.before = [0, *accumulate(map(len, groups))]

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def __getitem__(self, place: Place) -> PooledSample:
        # A crop then depends on its place alone: not on who reads it, nor on what was read before.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(place.seed)
            content = self.groups[place.group][place.number]
        return PooledSample(content, place, self.before[place.group] + place.number)


def collate(samples: Sequence[PooledSample]) -> Batch:
    """A batch of the order's samples, with what their random numbers follow from."""
    places = [sample.place for sample in samples]
    return replace(
        stacked([sample.content for sample in samples]),
        seeds=tuple(place.seed for place in places),
        coins=tuple(place.coin for place in places),
        numbers=tuple(sample.number for sample in samples),
    )


def stacked(samples: Sequence[Any]) -> Batch:
    """Pairs of one shape, as pixels or as latents, or crops for a VAE, as one batch."""
    if isinstance(samples[0], LatentPair):
        return Batch(latents=LatentPair.stack(samples), frame_rates=tuple(pair.frame_rate for pair in samples))
    if isinstance(samples[0], Tensor):
        return Batch(pixels=torch.stack(list(samples)))
    return Batch(
        pixels=torch.stack([pair.both_chunks() for pair in samples]),
        frame_rates=tuple(pair.frame_rate for pair in samples),
        captions=tuple(pair.caption for pair in samples),
        replaced=sum(pair.replaced for pair in samples),
    )
