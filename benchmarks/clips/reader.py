"""`open_clips`: the pictures of a clip list, read when asked, observed and future frames of every clip.

Legend: F observed frames, G future frames, N cameras, C colours (3), H height, W width.
"""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from worldmodel.benchmarks.clips.check import locate
from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.tables import clip_rows
from worldmodel.datasets.images import RESAMPLES
from worldmodel.datasets.nuscenes import open_index
from worldmodel.datasets.nuscenes.frames import SampleFrames
from worldmodel.datasets.nuscenes.pairs import NuScenesPairs, PairRows
from worldmodel.datasets.openvid import VideoFiles
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.datasets.video.readers import reader_class
from worldmodel.datasets.video.track import read_video
from worldmodel.errors import InputError


def open_clips(
    chosen: ClipList,
    root: str | Path | VideoFiles,
    size: tuple[int, int],
    observed_frames: int | None = None,
    resample: str = "area",
    video_reader: str = "pyav",
) -> Dataset[PixelPair]:
    """A lazy sequence with one `PixelPair` per clip, in the list's order; it pickles into worker processes.

    Clips of nuScenes-format data have calibration, poses and paths, from the same tables that the list was built from.

    Args:
        root: data folder, as in `ClipsConfig`; or where the videos of openvid-val are, if not simply below a folder.
        size: (H, W) of the frames: centre crop to the aspect, antialiased resize.
        observed_frames: how many frames of a clip are given, the rest is the future; by default the list's.
        resample: ``area``, or ``vista`` (LANCZOS from full size, as Vista reads pictures); see `read_image`.
        video_reader: what reads them, pyav or decord.

    Raises:
        InputError: these tables hold other frames than the list, videos are missing, settings without sense.
    """
    observed = chosen.observed_frames if observed_frames is None else observed_frames
    if not 0 < observed < chosen.frames:
        raise InputError(
            f"observed_frames={observed}: {chosen.label} has {chosen.frames}; use 1 to {chosen.frames - 1}"
        )
    if resample not in RESAMPLES:
        raise InputError(f"resample={resample!r} is unknown; use one of {', '.join(RESAMPLES)}")
    if not chosen.tables:
        files, reader = locate(chosen, root), reader_class(video_reader)
        sources = [reader(files[chosen.file_of(clip.lead.frames[0])[0]]) for clip in chosen.clips]
        return VideoClips(chosen, sources, size, observed, resample)
    if isinstance(root, VideoFiles):
        raise InputError(f"{chosen.label}: its frames are pictures; give the folder of its tables")
    return PictureClips(chosen, Path(root), size, observed, resample)


class PictureClips(Dataset[PixelPair]):
    """Clips of nuScenes-format data: for each set of cameras a `NuScenesPairs` whose pairs are the listed clips."""

    def __init__(self, chosen: ClipList, root: Path, size: tuple[int, int], observed: int, resample: str) -> None:
        index, numbers_of = open_index(root, chosen.tables), dict[tuple[str, ...], list[int]]()
        for number, clip in enumerate(chosen.clips):
            numbers_of.setdefault(clip.cameras, []).append(number)
        self._parts: list[NuScenesPairs] = []
        self._places = np.empty((len(chosen), 2), dtype=np.int64)
        for cameras, numbers in numbers_of.items():
            self._places[numbers] = [(len(self._parts), place) for place in range(len(numbers))]
            views = [[chosen.clips[number].views[n] for number in numbers] for n in range(len(cameras))]
            rows = [clip_rows(index, chosen, camera, of) for camera, of in zip(cameras, views, strict=True)]
            rows_PNL = np.stack(rows, axis=1)
            starts_PN = np.arange(0, rows_PNL.size, chosen.frames).reshape(rows_PNL.shape[:2])
            lengths, rate = (observed, chosen.frames - observed), chosen.frame_rate or 0.0
            pair_rows = PairRows(cameras, rows_PNL.reshape(-1), starts_PN, *lengths, rate)
            self._parts.append(NuScenesPairs(SampleFrames(index, size, resample), pair_rows))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> PixelPair:
        """Clip `number` with its frames; raises InputError naming a picture that cannot be read."""
        part, place = self._places[range(len(self))[number]].tolist()
        return self._parts[part][place]


class VideoClips(Dataset[PixelPair]):
    """Clips of videos, at each video's own rate."""

    def __init__(
        self, chosen: ClipList, sources: list[VideoReader], size: tuple[int, int], observed: int, resample: str
    ) -> None:
        self._sources = sources
        self._numbers = [[chosen.file_of(frame)[1] for frame in clip.lead.frames] for clip in chosen.clips]
        self._scenes = [clip.scene for clip in chosen.clips]
        self.size, self.observed_frames, self.resample = size, observed, resample

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: int) -> PixelPair:
        """Clip `number` with its frames.

        Raises:
            InputError: a frame is damaged, or the video is shorter than its CSV says.
        """
        source, numbers = self._sources[number], self._numbers[number]
        frames_LCHW = torch.from_numpy(read_video(source, numbers, self.size, self.resample))
        index = source.index()
        return PixelPair(
            scene=self._scenes[number],
            cameras=("video",),
            observed_NFCHW=frames_LCHW[None, : self.observed_frames],
            future_NGCHW=frames_LCHW[None, self.observed_frames :],
            times_s=index.times_s[None, numbers],
            frame_rate=index.frame_rate,
        )
