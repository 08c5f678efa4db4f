"""Frames of a nuScenes-format dataset decoded once, at one size, into a memory-mapped array.

For small datasets that are read many times, such as the toy world in training: a frame then costs a memory copy
instead of a JPEG. Frames of one camera and scene are consecutive (a *track*), so a chunk is a slice.

Shape legend: S all frames, F frames of a chunk, H height, W width, 3 colours.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.datasets.images import read_image
from worldmodel.datasets.nuscenes.chains import frame_rate
from worldmodel.datasets.nuscenes.cutting import cut_scenes
from worldmodel.datasets.nuscenes.frames import SampleFrames
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.report import NuScenesReport
from worldmodel.datasets.nuscenes.selection import chosen_scenes, default_cameras
from worldmodel.datasets.nuscenes.tracks import scene_tracks
from worldmodel.datasets.reading import reading
from worldmodel.datasets.track import windows_in
from worldmodel.datasets.windows import WindowRule
from worldmodel.files import written_whole


@dataclass(frozen=True)
class StoredTrack:
    """Frames `start` to `start + frames` of the store: one camera's drive through one scene without a gap."""

    scene: str
    camera: str
    start: int
    frames: int

    def windows(self, length: int, stride: int) -> range:
        """First frames of all windows of `length` frames, every `stride` frames."""
        return windows_in(range(self.start, self.start + self.frames), length, stride)


class FrameStore:
    """Decoded frames of some scenes. Opened or made by `open_frame_store`; pickles as its folder.

    Attributes:
        tracks: where which camera's frames lie. frame_rate: nominal frames per second.
        identity: sha256 over the picture files' names and bytes and the frame size; says what a model was trained on.
    """

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        self.folder = folder
        self.tracks = [StoredTrack(**track) for track in card["tracks"]]
        self.frame_rate, self.identity = float(card["frame_rate"]), str(card["identity"])
        self.frames_SHW3: UInt8[np.ndarray, "S H W 3"] = np.load(folder / "frames.npy", mmap_mode="r")

    def __reduce__(self) -> tuple[type["FrameStore"], tuple[Path]]:
        return FrameStore, (self.folder,)

    def chunk(self, start: int, length: int) -> UInt8[Tensor, "3 F H W"]:
        """Frames `start` to `start + length`."""
        return torch.from_numpy(np.array(self.frames_SHW3[start : start + length])).permute(3, 0, 1, 2)


def open_frame_store(
    index: NuScenesIndex,
    folder: Path,
    scenes: list[str],
    cameras: tuple[str, ...] | None,
    size: tuple[int, int],
    length: int,
    workers: int = 2,
) -> FrameStore:
    """The store of these scenes under `folder`, made if it is not there.

    Only runs of at least `length` frames without a gap are kept. `folder` gets one sub-folder per
    dataset, choice of scenes and cameras, and size. Raises `InputError` for pictures that cannot be read.
    """
    tracks, paths, frame_rate = _tracks(index, scenes, cameras, size, length)
    identity = _identity(index.root, paths, size)
    place = folder / identity[:16]
    with suppress(OSError, ValueError, KeyError, TypeError):  # absent, damaged, or another user's: made anew
        return FrameStore(place)
    _decode(paths, size, place, workers)
    card = {"identity": identity, "frame_rate": frame_rate, "tracks": [asdict(track) for track in tracks]}
    with written_whole(place / "card.json") as part:
        part.write_text(json.dumps(card))
    return FrameStore(place)


def _tracks(
    index: NuScenesIndex, scenes: list[str], cameras: tuple[str, ...] | None, size: tuple[int, int], length: int
) -> tuple[list[StoredTrack], list[str], float]:
    """Every run of enough frames as a track, the picture behind each frame, and the frame rate."""
    tracks: list[StoredTrack] = []
    paths: list[str] = []
    frames, rate = SampleFrames(index, size), 0.0
    names, _ = chosen_scenes(index, scenes, None)
    for camera in cameras if cameras is not None else default_cameras(index):
        rate = frame_rate(index, (camera,))
        report = NuScenesReport()
        cut_scenes(index, names, (camera,), WindowRule(length, 1, rate), report)  # a camera without a window is refused
        for scene in names:
            (track,) = scene_tracks(index, scene, (camera,))
            for run in track.runs():
                if len(run) >= length:
                    tracks.append(StoredTrack(scene, camera, len(paths), len(run)))
                    paths += [frames.path(row) for row in track.rows_K[run.start : run.stop].tolist()]
    return tracks, paths, rate


def _identity(root: Path, paths: list[str], size: tuple[int, int]) -> str:
    digest = hashlib.sha256(json.dumps(size).encode())
    for path in paths:
        digest.update(str(Path(path).relative_to(root)).encode())
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


class _Pictures(Dataset[np.ndarray]):
    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> np.ndarray:
        return read_image(self.paths[number], self.size)


def _decode(paths: list[str], size: tuple[int, int], place: Path, workers: int) -> None:
    pictures = reading(_Pictures(paths, size), np.stack, workers, "data.workers=0", batch_size=64)
    with written_whole(place / "frames.npy") as part, pictures as read:
        frames = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), *size, 3))
        done = 0
        for batch in tqdm(read, "decode frames", -(-len(paths) // 64), unit="x64"):
            frames[done : done + len(batch)] = batch
            done += len(batch)
        frames.flush()
