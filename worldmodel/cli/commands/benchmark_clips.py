"""`worldmodel benchmark clips`: build or check one clip list."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from worldmodel.benchmarks.clips.check import check_files, refuse_difference
from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.documents import header_path, read_clip_list, write_clip_list
from worldmodel.benchmarks.clips.registry import ClipsConfig, clip_list, label_of
from worldmodel.errors import InputError
from worldmodel.measure.report import publish


def clips(config: ClipsConfig) -> ClipList:
    """Build the list and write it, or check the one that is there; prints a summary, the last line is JSON.

    Raises:
        InputError: an unknown list, data that do not give one, a file that is already there; with `check`, a list that
            was altered, that these data do not give, or of which a frame is missing or altered.
    """
    label = label_of(config.list)
    path = Path(config.out or f"outputs/clips/{label}{'' if config.frames is None else f'-{config.frames}'}.json")
    chosen = _checked(config, path) if config.check else _written(config, path)
    outcome = "is what these data give" if config.check else f"written, with {header_path(path).name}"
    hashes = {"list": chosen.label, "sha256": chosen.sha256, "frames_sha256": chosen.frames_sha256}
    counts = {"clips": len(chosen), "expected": chosen.expected, "frames": chosen.frames}
    publish(f"{summary(chosen)}\n{path}: {outcome}", hashes | counts | {"out": str(path)})
    return chosen


def _written(config: ClipsConfig, path: Path) -> ClipList:
    if path.exists() and not config.overwrite:
        raise InputError(f"{path} is already there; check=true checks it, overwrite=true replaces it")
    chosen = clip_list(config)
    write_clip_list(chosen, path)
    return chosen


def _checked(config: ClipsConfig, path: Path) -> ClipList:
    stored = read_clip_list(path)
    if stored.label != label_of(config.list):
        raise InputError(f"{path} is {stored.label}; say list={stored.label}")
    fresh = clip_list(replace(config, frames=config.frames or _unless_own(stored, config), hash_frames=False))
    refuse_difference(path, stored, fresh)
    check_files(path, stored, config.root, config.hash_frames)
    return stored


def _unless_own(stored: ClipList, config: ClipsConfig) -> int | None:
    """vista-val takes no `frames`; the others were built with those of the file."""
    return None if stored.name == "vista-val" else stored.frames


def summary(chosen: ClipList) -> str:
    """Counts, what was left out, and the hashes, for people."""
    counts = Counter(camera for clip in chosen.clips for camera in clip.cameras)
    scenes = len({clip.scene for clip in chosen.clips})
    rate = "" if chosen.frame_rate is None else f" at {chosen.frame_rate:g} frames per second"
    differs = "as expected" if len(chosen) == chosen.expected else f"{chosen.expected:,} are expected"
    lines = [
        f"{chosen.label}: {len(chosen):,} clips ({differs}) of {chosen.frames} frames{rate}, {scenes:,} scenes",
        f"  cameras        {', '.join(f'{camera} {count:,}' for camera, count in counts.items())}",
        *(f"  note           {note}" for note in chosen.notes),
        f"  sha256         {chosen.sha256}",
        f"  frames' bytes  {chosen.frames_sha256 or 'not hashed (hash_frames=true)'}",
    ]
    return "\n".join(lines)
