"""Which files of a folder are pictures or videos; what a file system leaves beside them is neither."""

from collections.abc import Iterator
from pathlib import Path, PurePath

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = tuple(
    f".{name}"
    for name in ("mp4 m4v mov mkv webm avi ts mts m2ts mpg mpeg wmv flv ogv y4m ivf h264 264 h265 265 hevc".split())
)


def is_media(path: PurePath, suffixes: tuple[str, ...]) -> bool:
    """Whether a path relative to its folder or archive is a visible file of one of these kinds, by its name.

    macOS leaves `._NAME.mp4` beside `NAME.mp4` and `__MACOSX/` in archives; other programs keep thumbnails and
    half-written files in names that begin with a dot.
    """
    visible = not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return visible and path.suffix.lower() in suffixes


def media_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """All such files in a folder and the folders in it, in the order of the file system."""
    return (file for file in folder.rglob("*") if is_media(file.relative_to(folder), suffixes) and file.is_file())
