"""`worldmodel benchmark clips`: builds or checks one clip list. A plain dataclass and functions.

Lists of this package, and those that installed packages add as entry points `worldmodel.clip_lists`.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

from worldmodel.benchmarks.clips.check import check_files, file_hashes, refuse_difference
from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.clips.documents import header_path, read_clip_list, write_clip_list
from worldmodel.errors import InputError
from worldmodel.settings import Settings, Text, within

LISTS: dict[str, str] = {
    "vista-val@1": "worldmodel.benchmarks.clips.vista_val:build_1",
    "vista-val@2": "worldmodel.benchmarks.clips.vista_val:build",
    "flowframes-val@1": "worldmodel.benchmarks.clips.flowframes_val_1:build",
    "flowframes-val@2": "worldmodel.benchmarks.clips.flowframes_val:build",
    "openvid-val@1": "worldmodel.benchmarks.clips.openvid_val:build_1",
    "openvid-val@2": "worldmodel.benchmarks.clips.openvid_val:build",
    "toyworld-val@2": "worldmodel.benchmarks.clips.toyworld_val:build",
}
"""Label -> `module:function` that makes a `ClipList` of a `ClipsConfig`."""
GROUP = "worldmodel.clip_lists"


ClipFrames = Annotated[int, within(2, remedy="a clip needs an observed and a future frame, give at least 2")]


@dataclass(frozen=True)
class ClipsConfig(Settings):
    """Which list, of which data.

    Attributes:
        list: vista-val, flowframes-val, openvid-val, toyworld-val or an installed package's; the newest version, or
            one named as vista-val@1.
        root: data folder: of a nuScenes-format dataset (samples/, sweeps/, tables), or of OpenVid's videos.
        version: folder of the tables; null is v1.0-trainval, or the toy world's own.
        csv: OpenVid's published CSV, for openvid-val.
        frames: frames of a clip; null is the list's own number (for toyworld-val 51, 68, ... give longer rollouts).
        out: the list's file; null is outputs/clips/LIST.json.
        check: compare the file with what root gives now, and look whether every frame is there; nothing is written.
        hash_frames: read every frame's file too, and keep (or check) the hash of its bytes.
        overwrite: replace a list that is already at out.
    """

    list: Text = "toyworld-val"
    root: Text = "data/toyworld"
    version: Text | None = None
    csv: Text | None = None
    frames: ClipFrames | None = None
    out: Text | None = None
    check: bool = False
    hash_frames: bool = False
    overwrite: bool = False


def clips(config: ClipsConfig) -> ClipList:
    """Build the list and write it, or check the one that is there; prints a summary, the last line is JSON.

    Raises:
        InputError: an unknown list, data that do not give one, a file that is already there; with `check`, a list that
            was altered, that these data do not give, or of which a frame is missing or altered.
    """
    label = label_of(config.list)
    path = Path(config.out or f"outputs/clips/{label}{'' if config.frames is None else f'-{config.frames}'}.json")
    chosen = _checked(config, path) if config.check else _written(config, path)
    print(summary(chosen))
    print(f"{path}: {'is what these data give' if config.check else f'written, with {header_path(path).name}'}")
    said = {"list": chosen.label, "sha256": chosen.sha256, "frames_sha256": chosen.frames_sha256}
    counts = {"clips": len(chosen), "expected": chosen.expected, "frames": chosen.frames}
    print(json.dumps(said | counts | {"out": str(path)}))
    return chosen


def clip_list(config: ClipsConfig) -> ClipList:
    """Build a list in memory, the bytes of its frames hashed where that is asked for; errors as `clips`."""
    module, _, function = lists()[label_of(config.list)].partition(":")
    chosen: ClipList = getattr(import_module(module), function)(config)
    if not config.hash_frames:
        return chosen
    return replace(chosen, frame_hashes=file_hashes(chosen, config.root))


def lists() -> dict[str, str]:
    """`LISTS`, and those of installed packages: an entry point's name is the label, with its version."""
    return LISTS | {entry.name: entry.value for entry in entry_points(group=GROUP)}


def label_of(name: str) -> str:
    """The label of a list given with or without a version; without one, the newest."""
    there = lists()
    found = [label for label in there if name in (label, label.partition("@")[0])]
    if not found:
        raise InputError(f"list={name}: there is no such list; choose one of {', '.join(there)}")
    return max(found, key=lambda label: int(label.partition("@")[2]))


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
