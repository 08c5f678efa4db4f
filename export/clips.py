"""Clips of a source in the shape of an artifact, to record ranges with and to calibrate 8 bits.

Shape legend: B clips of one batch (the artifact's cameras), F frames, H height, W width, 3 colours.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from worldmodel.datasets.sources import FrameSource, NuScenesSource, open_source
from worldmodel.errors import InputError
from worldmodel.export.graphs.parts import Chunk


def clips_of(source: str, chunk: Chunk, batches: int) -> list[UInt8[np.ndarray, "B F H W 3"]]:
    """The first `batches` batches of clips from a nuScenes root, a video, or a folder of either videos or images.

    Clips of all scenes and cameras come in turn: the first of every scene, then those right after them. A last,
    incomplete batch is left out, unless there is no other: then its clips repeat.

    Raises:
        InputError: nothing readable there, or not one clip of this length.
    """
    single: list[np.ndarray] = []
    for clip_FHWC in _clips(open_source(source), chunk):
        single.append(clip_FHWC)
        if len(single) == batches * chunk.cameras:
            break
    if not single:
        raise InputError(f"calibration={source}: no {chunk.frames} frames in a row; give longer videos")
    in_batches = len(single) // chunk.cameras * chunk.cameras
    chosen = single[:in_batches] if in_batches else [single[place % len(single)] for place in range(chunk.cameras)]
    return [np.stack(chosen[first : first + chunk.cameras]) for first in range(0, len(chosen), chunk.cameras)]


def _clips(source: FrameSource, chunk: Chunk) -> Iterator[UInt8[np.ndarray, "F H W 3"]]:
    sources = [source]
    if isinstance(source, NuScenesSource):
        sources = [replace(source, scene=scene) for scene in source.index.scene_names]
    turn = 0
    while sources:
        going_on = []
        for source in sources:
            if (yield from _at(source, turn, chunk)):
                going_on.append(source)
        sources, turn = going_on, turn + 1


def _at(source: FrameSource, turn: int, chunk: Chunk) -> Generator[UInt8[np.ndarray, "F H W 3"], None, bool]:
    """The clips of all cameras, `turn` chunks from the beginning; returns whether the source goes on that far."""
    start_s = turn * chunk.frames / chunk.frame_rate
    # nuScenes keeps its own rate; footage is resampled to the artifact's.
    rate = None if isinstance(source, NuScenesSource) else chunk.frame_rate
    try:
        pair = source.chunk(start_s, chunk.frames, 0, (chunk.height, chunk.width), rate)
    except InputError:
        if turn == 0 and not isinstance(source, NuScenesSource):
            raise
        return False
    for clip_FCHW in pair.observed_NFCHW:
        yield clip_FCHW.permute(0, 2, 3, 1).numpy()
    return True
