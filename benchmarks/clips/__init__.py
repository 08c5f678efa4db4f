"""Published, versioned lists of the clips that an evaluation looks at, each a rule in code with a card beside it.

chosen = clip_list(ClipsConfig(list="vista-val", root="/data/nuscenes"))   # write_clip_list(chosen, path) keeps it
chosen = read_clip_list("outputs/clips/vista-val@2.json")                  # what `worldmodel benchmark clips` wrote
pairs = open_clips(chosen, "/data/nuscenes", size=(576, 1024), resample="vista")
"""

from typing import TYPE_CHECKING, Any

from worldmodel.benchmarks.clips.clip_list import Actions, Clip, ClipList, View
from worldmodel.benchmarks.clips.documents import read_clip_list, write_clip_list
from worldmodel.benchmarks.clips.registry import LISTS, ClipsConfig, clip_list

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.reader import open_clips

__all__ = [
    "LISTS",
    "Actions",
    "Clip",
    "ClipList",
    "ClipsConfig",
    "View",
    "clip_list",
    "open_clips",
    "read_clip_list",
    "write_clip_list",
]


def __getattr__(name: str) -> Any:
    if name == "open_clips":  # the lists alone need no torch
        from worldmodel.benchmarks.clips.reader import open_clips

        return open_clips
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
