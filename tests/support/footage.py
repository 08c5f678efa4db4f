"""Real videos of a collection, their published cuts, and the ffmpeg program that videos are judged by."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from worldmodel.datasets.video.reader import VideoReader


def published_cuts(footage: Path) -> dict[Path, list[int]]:
    """Clips with the cuts that the collection's README.md names: `name` followed by frame numbers."""
    readme = footage / "README.md"
    named = re.findall(r"`([\w.-]+)` ((?:\d+, )+\d+)", readme.read_text()) if readme.is_file() else []
    found = {name: next(iter(sorted(footage.rglob(f"{name}.*"))), None) for name, _ in named}
    return {path: [int(n) for n in numbers.split(", ")] for name, numbers in named if (path := found[name])}


def abrupt(source: VideoReader, frame: int) -> bool:
    """Whether the pixels change at least twice as much there as at any of the four frames before and after."""
    first, last = max(0, frame - 5), min(len(source.index()), frame + 5)
    video = source.read(range(first, last), (72, 128)).double()
    change = (video[1:] - video[:-1]).abs().mean((1, 2, 3)).numpy()
    at = frame - 1 - first
    return bool(change[at] >= 2 * np.delete(change, at).max())


def without_cuts(footage: Path) -> list[Path]:
    """Videos of the collection that have no cut of their own; of a rig in parts the first parts."""
    listed = sorted(path for kind in ("driving", "web", "multicam/*") for path in footage.glob(f"{kind}/*.mp4"))
    taken = [path for path in listed if "multicam" not in path.parts or path.stem.endswith("_0")]
    return [path for path in taken if path not in published_cuts(footage)]


def ffmpeg_program() -> str | None:
    """Path of the ffmpeg program: on the search path, or in the package imageio-ffmpeg."""
    if find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    return shutil.which("ffmpeg")
