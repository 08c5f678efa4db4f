"""What a run reads from a frame store: random crops of single chunks for a VAE, pairs of chunks for a flow."""

import hashlib

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from worldmodel.datasets.frame_store import FrameStore
from worldmodel.errors import InputError


class ChunkCrops(Dataset[Tensor]):
    """Chunks [3, F, h, w] uint8 of a frame store, each cropped at a random place drawn from torch's generator."""

    def __init__(self, store: FrameStore, frames: int, stride: int, crop: tuple[int, int]) -> None:
        height, width = store.frames_SHW3.shape[1:3]
        if crop[0] > height or crop[1] > width:
            raise InputError(f"autoencoder.crop={list(crop)} is larger than the frames; use at most [{height},{width}]")
        self.store, self.frames, self.crop = store, frames, crop
        self.starts = [start for track in store.tracks for start in track.chunk_starts(frames, stride)]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> UInt8[Tensor, "3 F h w"]:
        chunk = self.store.chunk(self.starts[number], self.frames)
        top, left = (
            int(torch.randint(full - part + 1, ())) for full, part in zip(chunk.shape[2:], self.crop, strict=True)
        )
        return chunk[:, :, top : top + self.crop[0], left : left + self.crop[1]].contiguous()


class StorePairs(Dataset[Tensor]):
    """All pairs [2, 3, F, H, W] uint8 of an observed chunk and the one right after it, every `stride` frames."""

    def __init__(self, store: FrameStore, frames: int, stride: int) -> None:
        self.store, self.frames, self.frame_rate = store, frames, store.frame_rate
        self.starts = [start for track in store.tracks for start in track.chunk_starts(2 * frames, stride)]
        self.identity = hashlib.sha256(f"{store.identity} {frames} {stride}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> UInt8[Tensor, "2 3 F H W"]:
        first = self.starts[number]
        return torch.stack([self.store.chunk(first + shift, self.frames) for shift in (0, self.frames)])
