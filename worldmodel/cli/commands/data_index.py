"""`worldmodel data index`: a plain dataclass and function."""

import time
from dataclasses import dataclass

from worldmodel.datasets.nuscenes import available_splits, chunk_pairs, open_index
from worldmodel.settings import Count, Natural, Settings, Text


@dataclass(frozen=True)
class IndexVerb(Settings):
    """Which tables to index, and which chunk pairs to count in them.

    Attributes:
        root: folder that holds `samples/`, `sweeps/` and the version folders.
        version: folder with the tables: v1.0-mini, v1.0-trainval, v1.0-test or your own; null: the only one, or
            v1.0-mini where there are several.
        split: a split of that version to count pairs in, for example mini_val; null: all scenes.
        cameras: camera names; empty: the six of nuScenes, or all of another rig.
        observed_frames: frames of the observed chunk.
        future_frames: frames of the future chunk.
        stride: frames between the starts of two pairs.
        check: read every picture once and name those that cannot be read.
        workers: processes that read pictures for `check`.
        skip_bad: leave dangling references and unreadable pictures out and count them, instead of refusing them.
    """

    root: Text
    version: Text | None = None
    split: Text | None = None
    cameras: tuple[Text, ...] = ()
    observed_frames: Count = 17
    future_frames: Count = 17
    stride: Count = 17
    check: bool = False
    workers: Natural = 0
    skip_bad: bool = False


def index(config: IndexVerb) -> None:
    """Builds or reopens the index and prints what it holds.

    Raises:
        InputError: tables, splits, cameras or frame counts that do not fit.
    """
    started = time.perf_counter()
    tables = open_index(config.root, config.version, skip_bad=config.skip_bad)
    print(f"{tables.folder} opened in {time.perf_counter() - started:.3f} s")
    for name in ("scene", "sample", "sample_data", "ego_pose"):
        print(f"  {name.ljust(12)}{tables.rows(name):>10,}")
    print(f"  splits      {', '.join(available_splits(tables.root, tables.version))}")
    if tables.time_unit != "microseconds":
        print(f"  time stamps {tables.time_unit}, read as microseconds")
    pairs = chunk_pairs(
        tables,
        split=config.split,
        cameras=config.cameras or None,
        observed_frames=config.observed_frames,
        future_frames=config.future_frames,
        stride=config.stride,
        skip_bad=config.skip_bad,
    )
    print(f"  cameras     {', '.join(pairs.cameras)} at {pairs.frame_rate:g} frames per second")
    print((pairs.check(config.workers) if config.check else pairs).report)
