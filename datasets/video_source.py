"""Ordinary videos as pairs of chunks: one video, a folder of videos (a rig), or a folder of images.

Legend: N cameras, F observed frames, G future frames, C colours (3), H height, W width.

Every camera's first frame is time 0 of its own clock, whatever time stamp its file begins with: cameras of one
folder count as started together.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.datasets.video.cameras import all_tracks, chosen_tracks
from worldmodel.datasets.video.file import VideoFile
from worldmodel.datasets.video.frame_rate import check_rate
from worldmodel.datasets.video.media_files import IMAGES, VIDEOS, is_media
from worldmodel.datasets.video.readers import reader_class
from worldmodel.datasets.video.track import ImageSequence, VideoTrack
from worldmodel.errors import InputError


@dataclass(frozen=True)
class VideoSource:
    """Cameras of one drive. `scene` is the name of the file or the folder."""

    path: Path
    tracks: tuple[VideoTrack, ...]

    @property
    def scene(self) -> str:
        """Name of the drive."""
        return self.path.stem if self.path.is_file() else self.path.resolve().name

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(track.camera for track in self.tracks)

    @property
    def frame_rate(self) -> float:
        """Frames per second of the first camera; 0.0 for a single frame."""
        return 1.0 / self.tracks[0].step_s if self.tracks[0].step_s else 0.0

    def chunk(
        self,
        start_s: float,
        observed_frames: int,
        future_frames: int,
        size: tuple[int, int],
        frame_rate: float | None = None,
        resample: str = "area",
    ) -> PixelPair:
        """One coupling at the model's frame rate: for each wanted time the camera's nearest frame.

        Where the videos are slower than `frame_rate`, frames come twice (`repeated_frames` counts them); `times_s`
        are the true times of the frames given. A video that ends early gives fewer future frames, down to none.

        Args:
            start_s: seconds from the first frame.
            size: (H, W), centre crop to this aspect.
            frame_rate: frames per second of the chunk; None is 12, that of nuScenes' sweeps.
            resample: how pictures come to size, see `worldmodel.datasets.images.read_image`.

        Raises:
            InputError: a camera ends before the last observed frame, or a frame that is needed is damaged.
        """
        frame_rate = NOMINAL_RATE if frame_rate is None else frame_rate
        if start_s < 0 or observed_frames < 1 or future_frames < 0 or frame_rate <= 0:
            raise InputError(
                f"{self.path}: start {start_s} s, {observed_frames} observed and {future_frames} future frames at"
                f" {frame_rate}/s; give a start and rates above 0 and at least one observed frame"
            )
        check_rate(frame_rate, str(self.path), "give another frame_rate")
        wanted_s = start_s + np.arange(observed_frames + future_frames) / frame_rate
        kept = min(self._reach(track, wanted_s, observed_frames, frame_rate) for track in self.tracks)
        numbers = [track.nearest(wanted_s[:kept]) for track in self.tracks]
        chosen = list(zip(self.tracks, numbers, strict=True))
        video = torch.from_numpy(np.stack([track.read(k.tolist(), size, resample) for track, k in chosen]))
        return PixelPair(
            scene=self.scene,
            cameras=self.cameras,
            observed_NFCHW=video[:, :observed_frames],
            future_NGCHW=video[:, observed_frames:],
            times_s=np.stack([track.times_s[k] for track, k in chosen]),
            frame_rate=float(frame_rate),
        )

    def _reach(self, track: VideoTrack, wanted_s: np.ndarray, observed_frames: int, frame_rate: float) -> int:
        """How many of the wanted times the camera covers, its last frame lasting half a frame longer."""
        last_s = track.times_s[-1]
        kept = int((wanted_s <= last_s + 0.5 * track.step_s + 1e-9).sum())
        if kept < observed_frames:
            raise InputError(
                f"{self.path}: {track.camera} has {len(track)} frames and ends at {last_s:.2f} s, but"
                f" {observed_frames} observed frames at {frame_rate:g}/s from {wanted_s[0]:g} s need"
                f" {wanted_s[observed_frames - 1]:.2f} s; give longer footage, an earlier start or a higher frame_rate"
            )
        return kept


def repeated_frames(pair: PixelPair) -> dict[str, int]:
    """How many frames of each camera show the same picture as the frame before, because the video is slower."""
    return {
        camera: int((np.diff(times_s) == 0).sum()) for camera, times_s in zip(pair.cameras, pair.times_s, strict=True)
    }


def open_videos(
    path: str | Path,
    cameras: Sequence[str] | None = None,
    frame_rate: float | None = None,
    video_reader: str = "pyav",
) -> VideoSource:
    """Open a video file, a folder of videos, or a folder of images.

    A video or an image folder is one camera, named after it. In a folder of videos each file is a camera, named
    after the file; files `NAME_0`, `NAME_1`, ... are parts of one camera `NAME` if each begins with the frame that
    the one before ended with, or if `cameras` asks for `NAME`.

    Args:
        cameras: which cameras, in which order: file names without suffix, or `NEW_NAME:file_name` to rename. None: all.
        frame_rate: frames per second of an image folder (12 if None). Videos carry their own times.
        video_reader: what reads videos, pyav or decord.

    Raises:
        InputError: nothing there, no video in it, two kinds in one folder, an unknown camera, a missing part.
        MissingDependency: decord is asked for and not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    reader = reader_class(video_reader)
    if path.is_file():
        return VideoSource(path, (_one_camera(cameras, path, (reader(path),)),))
    files = sorted((entry for entry in path.iterdir() if entry.is_file()), key=_natural)
    images = tuple(entry for entry in files if is_media(Path(entry.name), IMAGES))
    videos = [entry for entry in files if is_media(Path(entry.name), VIDEOS)]
    if images and videos:
        raise InputError(f"{path}: {len(images)} images and {len(videos)} videos in one folder; keep one kind")
    if not images and not videos:
        raise InputError(f"{path}: neither images (.jpg, .png, ...) nor videos (.mp4, .mkv, ...) in it; check the path")
    if videos:
        tracks = chosen_tracks(path, videos, cameras, reader) if cameras else all_tracks(videos, reader)
        return VideoSource(path, tuple(tracks))
    rate = NOMINAL_RATE if frame_rate is None else float(frame_rate)
    check_rate(rate, str(path), "give the rate at which the images were taken, image_rate=12 or so")
    return VideoSource(path, (_one_camera(cameras, path, (ImageSequence(images, rate),)),))


def _one_camera(cameras: Sequence[str] | None, path: Path, parts: tuple[VideoFile | ImageSequence, ...]) -> VideoTrack:
    if cameras and len(cameras) != 1:
        raise InputError(f"{path}: one camera, but cameras names {len(cameras)}; give one name")
    own = path.stem if path.is_file() else path.resolve().name
    return VideoTrack(cameras[0].split(":")[0] if cameras else own, parts)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which 2 comes before 10."""
    return [(0, int(run), "") if run.isdigit() else (1, 0, run) for run in re.findall(r"\d+|\D+", path.name)]
