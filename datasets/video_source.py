"""Ordinary footage as chunk pairs: one video, a folder of videos (a rig), or a folder of images.

Legend: N cameras, F observed frames, G future frames, K frames of one camera, C colours (3), H height, W width.

Every camera's first frame is time 0 of its own clock, whatever time stamp its file begins with: cameras of one
folder count as started together.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from PIL import Image
from torch import Tensor

from worldmodel.datasets.images import read_image
from worldmodel.datasets.nuscenes.timing import NOMINAL_RATE, mean_step
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.resize import crop_box
from worldmodel.datasets.video.frame_rate import check_rate
from worldmodel.datasets.video.index import nearest
from worldmodel.datasets.video.media_files import IMAGES, VIDEOS, is_media
from worldmodel.datasets.video.reader import VideoSource
from worldmodel.datasets.video.readers import reader_class
from worldmodel.errors import InputError

JOINT_SIZE = (72, 128)
# A part repeats its predecessor's last frame if the two differ, in squared error, by less than a quarter of what one
# frame of motion changes. On seven 30 fps cameras cut into overlapping parts: 44.7 to 47.8 dB at a joint, where a step
# gives 19.4 to 36.0 dB.
JOINT_RATIO = 0.25


@dataclass(frozen=True)
class ImageSequence:
    """A folder's images in natural order, at an even rate."""

    paths: tuple[Path, ...]
    frame_rate: float

    @property
    def times_s(self) -> Float64[np.ndarray, " K"]:
        """Seconds from the first image."""
        return np.arange(len(self.paths)) / self.frame_rate

    def read(self, frames: Sequence[int], size: tuple[int, int], resample: str = "area") -> UInt8[Tensor, "F 3 H W"]:
        """The images of these numbers, centre crop to the aspect of (H, W)."""
        pictures = [torch.from_numpy(read_image(self.paths[frame], size, resample).copy()) for frame in frames]
        return torch.stack(pictures).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Track:
    """One camera: its videos one after another, or its images.

    `repeats[k]` says that part k begins with the frame its predecessor ended with; that frame counts once.
    """

    camera: str
    parts: tuple[VideoSource | ImageSequence, ...]
    repeats: tuple[bool, ...]

    @cached_property
    def _frames(self) -> list[tuple[int, int, float]]:
        """(part, number in it, seconds from the track's first frame) of every frame."""
        frames: list[tuple[int, int, float]] = []
        for part, (source, repeated) in enumerate(zip(self.parts, self.repeats, strict=True)):
            times_s = source.times_s if isinstance(source, ImageSequence) else source.index().times_s
            begin_s = frames[-1][2] if frames else 0.0
            if frames and not repeated:
                begin_s += mean_step(np.diff(times_s))
            since_first_s = times_s - times_s[0] + begin_s
            frames += [(part, k, float(t)) for k, t in enumerate(since_first_s) if k >= int(repeated)]
        return frames

    @property
    def times_s(self) -> Float64[np.ndarray, " K"]:
        """Seconds from the first frame."""
        return np.array([time_s for _, _, time_s in self._frames])

    @property
    def step_s(self) -> float:
        """Mean distance of two frames, without gaps; 0.0 for a single frame."""
        return mean_step(np.diff(self.times_s))

    def read(self, frames: Sequence[int], size: tuple[int, int], resample: str = "area") -> UInt8[Tensor, "F 3 H W"]:
        """Frames by their number in the whole track, in the order asked for."""
        places = [self._frames[frame][:2] for frame in frames]
        pictures: dict[tuple[int, int], Tensor] = {}
        for part in sorted({part for part, _ in places}):
            numbers = sorted({number for at, number in places if at == part})
            source = self.parts[part]
            read = (
                source.read(numbers, size, resample)
                if isinstance(source, ImageSequence)
                else read_video(source, numbers, size, resample)
            )
            pictures.update({(part, number): picture for number, picture in zip(numbers, read, strict=True)})
        return torch.stack([pictures[place] for place in places])

    def nearest(self, times_s: Float64[np.ndarray, " F"]) -> Int64[np.ndarray, " F"]:
        """Numbers of the frames nearest to these times."""
        return nearest(self.times_s, times_s)


@dataclass(frozen=True)
class Footage:
    """Cameras of one drive. `scene` is the name of the file or the folder."""

    path: Path
    tracks: tuple[Track, ...]

    @property
    def scene(self) -> str:
        return self.path.stem if self.path.is_file() else self.path.resolve().name

    @property
    def cameras(self) -> tuple[str, ...]:
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

        Where the footage is slower than `frame_rate`, frames come twice (`repeated_frames` counts them); `times_s`
        are the true times of the frames given. Footage that ends early gives fewer future frames, down to none.

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
        video = torch.stack([t.read(k.tolist(), size, resample) for t, k in zip(self.tracks, numbers, strict=True)])
        times_s = np.stack([t.times_s[k] for t, k in zip(self.tracks, numbers, strict=True)])
        return PixelPair(
            scene=self.scene,
            cameras=self.cameras,
            observed_NFCHW=video[:, :observed_frames],
            future_NGCHW=video[:, observed_frames:],
            times_s=times_s,
            frame_rate=float(frame_rate),
        )

    def _reach(self, track: Track, wanted_s: np.ndarray, observed_frames: int, frame_rate: float) -> int:
        """How many of the wanted times the camera covers, its last frame lasting half a frame longer."""
        last_s = track.times_s[-1]
        kept = int((wanted_s <= last_s + 0.5 * track.step_s + 1e-9).sum())
        if kept < observed_frames:
            raise InputError(
                f"{self.path}: {track.camera} has {len(track.times_s)} frames and ends at {last_s:.2f} s, but"
                f" {observed_frames} observed frames at {frame_rate:g}/s from {wanted_s[0]:g} s need"
                f" {wanted_s[observed_frames - 1]:.2f} s; give longer footage, an earlier start or a higher frame_rate"
            )
        return kept


def repeated_frames(pair: PixelPair) -> dict[str, int]:
    """How many frames of each camera show the same picture as the frame before, because the footage is slower."""
    return {
        camera: int((np.diff(times_s) == 0).sum()) for camera, times_s in zip(pair.cameras, pair.times_s, strict=True)
    }


def open_footage(
    path: str | Path,
    cameras: Sequence[str] | None = None,
    frame_rate: float | None = None,
    video_reader: str = "pyav",
) -> Footage:
    """Footage from a video file, a folder of videos, or a folder of images.

    A video or an image folder is one camera, named after it. In a folder of videos each file is a camera, named
    after the file; files `NAME_0`, `NAME_1`, ... are parts of one camera `NAME` if each begins with the frame that
    the one before ended with, or if `cameras` asks for `NAME`.

    Args:
        cameras: which cameras, in which order: file names without suffix, or `NEW_NAME:file_name` to rename. None: all.
        frame_rate: frames per second of an image folder (12 if None). Videos carry their own times.
        video_reader: what reads videos, pyav or decord.

    Raises:
        InputError: nothing there, no footage in it, two kinds in one folder, an unknown camera, a missing part.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    opened = reader_class(video_reader)
    if path.is_file():
        return Footage(path, (_one_camera(cameras, path, (opened(path),)),))
    files = sorted((entry for entry in path.iterdir() if entry.is_file()), key=_natural)
    images = tuple(entry for entry in files if is_media(Path(entry.name), IMAGES))
    videos = [entry for entry in files if is_media(Path(entry.name), VIDEOS)]
    if images and videos:
        raise InputError(f"{path}: {len(images)} images and {len(videos)} videos in one folder; keep one kind")
    if images:
        rate = NOMINAL_RATE if frame_rate is None else float(frame_rate)
        check_rate(rate, str(path), "give the rate at which the images were taken, image_rate=12 or so")
        return Footage(path, (_one_camera(cameras, path, (ImageSequence(images, rate),)),))
    if not videos:
        raise InputError(f"{path}: neither images (.jpg, .png, ...) nor videos (.mp4, .mkv, ...) in it; check the path")
    return Footage(path, tuple(_chosen(path, videos, cameras, opened) if cameras else _all_cameras(videos, opened)))


def _one_camera(cameras: Sequence[str] | None, path: Path, parts: tuple[VideoSource | ImageSequence, ...]) -> Track:
    if cameras and len(cameras) != 1:
        raise InputError(f"{path}: one camera, but cameras names {len(cameras)}; give one name")
    own = path.stem if path.is_file() else path.resolve().name
    return Track(cameras[0].split(":")[0] if cameras else own, parts, (False,))


def _chosen(folder: Path, videos: list[Path], cameras: Sequence[str], opened: type[VideoSource]) -> list[Track]:
    names = [_renamed(camera, videos)[0] for camera in cameras]
    if any("/" in name or not name for name in names):
        raise InputError(f"{folder}: cameras {', '.join(cameras)}; a camera's name is not empty and has no slash")
    if len(set(names)) < len(names):
        raise InputError(f"{folder}: cameras {', '.join(names)}; give every camera once")
    return [_chosen_one(folder, videos, camera, opened) for camera in cameras]


def _renamed(camera: str, videos: list[Path]) -> tuple[str, str]:
    """Name of a camera and of its video, from `NAME` or `NEW_NAME:file_name`; `14:30:15.mp4` is a file's own name."""
    if camera in [name for video in videos for name in (video.stem, video.name)]:
        return camera, camera
    name, _, file_name = camera.partition(":")
    return name, file_name or name


def _chosen_one(folder: Path, videos: list[Path], camera: str, opened: type[VideoSource]) -> Track:
    name, wanted = _renamed(camera, videos)
    exact = [video for video in videos if wanted in (video.stem, video.name)]
    parts = exact or _parts(videos).get(wanted, [])
    if not parts:
        in_parts = {name for name, parts in _parts(videos).items() if len(parts) > 1}
        known = ", ".join(sorted({video.stem for video in videos} | in_parts))
        raise InputError(f"{folder}: no video of camera {wanted!r}; there are {known}; rename with NEW_NAME:file_name")
    if len(exact) > 1:
        raise InputError(f"{folder}: {len(exact)} videos are called {wanted!r}; give the name with its suffix")
    return _track(name, parts, opened)


def _all_cameras(videos: list[Path], opened: type[VideoSource]) -> list[Track]:
    joined = {name: _track(name, parts, opened) for name, parts in _parts(videos).items() if _are_counted(parts)}
    joined = {name: track for name, track in joined.items() if all(track.repeats[1:])}
    tracks: dict[str, Track] = {}
    for video in videos:
        name = _part_of(video)
        own = video.stem if video.stem not in tracks else video.name
        key = name if name in joined else own
        tracks.setdefault(key, joined[name] if name in joined else Track(own, (opened(video),), (False,)))
    return list(tracks.values())


def _are_counted(videos: list[Path]) -> bool:
    """Whether files called NAME_<number> are numbered as parts are: without a gap, or from 0 or 1 with most there.

    Otherwise the numbers are times of day, dates or scene numbers, and each file is a camera of its own.
    """
    numbers = [number for video in videos if (number := _part_number(video)) is not None]
    span = numbers[-1] - numbers[0] + 1
    return len(numbers) > 1 and (span == len(numbers) or (numbers[0] <= 1 and span <= 2 * len(numbers)))


def _track(camera: str, videos: list[Path], opened: type[VideoSource]) -> Track:
    numbers = [_part_number(video) for video in videos]
    for before, after in pairwise(numbers):
        if before is not None and after is not None and after != before + 1:
            raise InputError(
                f"{videos[0].parent}: camera {camera} has part {before} and part {after}, none between; add it,"
                " or name the videos that are cameras with cameras=[...]"
            )
    parts = tuple(opened(video) for video in videos)
    return Track(camera, parts, (False, *(_repeats(before, after) for before, after in pairwise(parts))))


def _repeats(before: VideoSource, after: VideoSource) -> bool:
    """Whether `after` begins with the last frame of `before`, seen against one frame of motion."""
    frames = len(before.index())
    if frames < 2:
        return False
    last_but_one, last = before.read([frames - 2, frames - 1], JOINT_SIZE).double()
    first = after.read([0], JOINT_SIZE)[0].double()
    return bool((first - last).square().mean() < JOINT_RATIO * (last - last_but_one).square().mean())


def _parts(videos: list[Path]) -> dict[str, list[Path]]:
    """Videos called NAME_<number>, by NAME, in the order of the numbers."""
    parts: dict[str, list[Path]] = {}
    for video in videos:
        if (name := _part_of(video)) is not None:
            parts.setdefault(name, []).append(video)
    return {name: sorted(those, key=lambda video: _part_number(video) or 0) for name, those in parts.items()}


def _part_of(video: Path) -> str | None:
    found = re.fullmatch(r"(.+)_(\d+)", video.stem)
    return found[1] if found else None


def _part_number(video: Path) -> int | None:
    found = re.fullmatch(r"(.+)_(\d+)", video.stem)
    return int(found[2]) if found else None


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which 2 comes before 10."""
    return [(0, int(run), "") if run.isdigit() else (1, 0, run) for run in re.findall(r"\d+|\D+", path.name)]


def read_video(
    source: VideoSource, numbers: Sequence[int], size: tuple[int, int], resample: str
) -> UInt8[Tensor, "L 3 H W"]:
    """Frames of a video by their numbers; ``vista`` crops and scales each as `read_image` does a picture."""
    if resample == "area":
        return source.read(numbers, size)
    whole_LCHW = source.read(numbers)
    box = crop_box(whole_LCHW.shape[3], whole_LCHW.shape[2], *size)
    frames = np.empty((len(numbers), *size, 3), dtype=np.uint8)
    for place, picture in enumerate(whole_LCHW.permute(0, 2, 3, 1).contiguous().numpy()):
        cropped = Image.fromarray(picture).crop(box)
        frames[place] = np.asarray(cropped.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
