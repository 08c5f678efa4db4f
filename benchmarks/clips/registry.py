"""Clip lists by name: those of this package, and those that installed packages add as entry points."""

from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated

from worldmodel.benchmarks.clips.check import file_hashes
from worldmodel.benchmarks.clips.clip_list import ClipList
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


def clip_list(config: ClipsConfig) -> ClipList:
    """Build a list in memory, the bytes of its frames hashed where that is asked for.

    Raises:
        InputError: an unknown list, or data that do not give one.
    """
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
