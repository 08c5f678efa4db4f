"""`flowframes-val@1`, the first guess at what the FlowFrames paper evaluates on; on real tables it finds nothing.

It asks for steps within 30 % of 1/12 s, and real cameras fire 50 and 100 ms apart. It stays so that lists that were
made by it can be checked. See flowframes_val.md.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.benchmarks.clips.clip_list import Clip, ClipList, rank
from worldmodel.benchmarks.clips.tables import ValScenes, clips_of, open_val
from worldmodel.datasets.nuscenes.chains import CameraChains, camera_chains
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.registry import ClipsConfig

LABEL, SEED = "flowframes-val@1", 0
CAMERAS = ("CAM_FRONT", "CAM_BACK", "CAM_FRONT_LEFT")
FRAMES, EACH, KEPT = 34, 5, 2000
MAX_GAP = 0.3  # a step between two frames may differ by this part of 1/12 s
RULE = """nuScenes val; CAM_FRONT, CAM_BACK, CAM_FRONT_LEFT, each by itself. A clip is 34 frames linked by
sample_data.next, every step within 30 % of 1/12 s. Of each scene and camera five, begun at key frames and not
overlapping, as near as possible (least squares of their times) to even spacing from the first possible start to the
last. Where five do not fit, they may overlap; where there are not five key frames to begin at, any frame may begin one;
fewer where there are not five at all. Of all, the 2,000 of lowest sha256 of "flowframes-val@1/0/" and the token of the
first sample_data. Sorted by scene name, camera in the order above, time."""


def build(config: "ClipsConfig") -> ClipList:
    """The list of one nuScenes root; `frames` other than 34 makes clips of another length by the same rule.

    Raises:
        InputError: no val scene, a camera is missing, or no clip at all.
    """
    val = open_val(config.root, config.version or "v1.0-trainval")
    length, counts, gaps = config.frames or FRAMES, Counter[str](), dict[str, int]()
    clips = [clip for camera in CAMERAS for clip in _of_camera(val, camera, length, counts, gaps)]
    if not clips:
        raise InputError(
            f"{LABEL}: no {length} frames {1 / NOMINAL_RATE:.4f} s apart in a row in {val.index.root}; real cameras"
            " fire 50 and 100 ms apart, use flowframes-val@2"
        )
    kept = sorted(clips, key=lambda clip: rank(LABEL, SEED, clip.lead.start_token))[:KEPT]
    return ClipList(
        name="flowframes-val",
        version=1,
        rule=" ".join(RULE.split()),
        expected=KEPT,
        frames=length,
        observed_frames=17,
        frame_rate=NOMINAL_RATE,
        tables=val.index.version,
        clips=tuple(sorted(kept, key=_place)),
        notes=val.notes + _notes(counts, gaps, len(clips)),
    )


def _place(clip: Clip) -> tuple[str, int, int]:
    return clip.scene, CAMERAS.index(clip.lead.camera), clip.lead.timestamps_us[0]


def _of_camera(val: ValScenes, camera: str, length: int, found: Counter[str], gaps: dict[str, int]) -> list[Clip]:
    index, chains = val.index, camera_chains(val.index, (camera,))
    row_of = {name: row for row, name in enumerate(index.scene_names)}
    possible, scenes, gaps[camera] = _even_starts(chains, [row_of[name] for name in val.names], length)
    starts: list[int] = []
    for name in val.names:
        places = possible[scenes == row_of[name]]
        way, chosen = five_of(places.tolist(), *_keys_and_times(val, chains, places), length)
        found[way] += 1
        starts += chosen
    rows = chains.rows_S[np.array(starts, dtype=np.int64)[:, None] + np.arange(length)]
    return clips_of(index, (camera,), rows[:, None]) if starts else []


def _even_starts(chains: CameraChains, scenes: list[int], length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Positions from which `length` frames follow each other in even steps, their scenes, and the uneven steps.

    `chains` are of one camera; steps are counted in `scenes` alone.
    """
    scene_S = np.repeat(chains.scenes, np.diff(chains.starts))
    even = np.abs(np.diff(chains.times_S) - 1 / NOMINAL_RATE) <= MAX_GAP / NOMINAL_RATE
    linked = np.ones(len(even), dtype=bool)
    linked[chains.starts[1:-1] - 1] = False
    uneven = int((linked & ~even & np.isin(scene_S[1:], scenes)).sum())
    broken = np.concatenate([[0], np.cumsum(~(linked & even))])
    begins = np.arange(max(0, len(scene_S) - length + 1))
    begins = begins[broken[begins + length - 1] == broken[begins]]
    return begins, scene_S[begins], uneven


def _keys_and_times(val: ValScenes, chains: CameraChains, places: np.ndarray) -> tuple[list[bool], list[int]]:
    rows = chains.rows_S[places]
    key, time = (val.index.column("sample_data", name)[rows] for name in ("is_key_frame", "timestamp"))
    return (key == 1).tolist(), time.tolist()


def five_of(places: list[int], keys: list[bool], times_us: list[int], length: int) -> tuple[str, list[int]]:
    """Which of the possible starts of one scene and camera begin a clip, and in which way they were found.

    Args:
        places: frame numbers of the possible starts, rising; keys: which are key frames; times_us: their times.
    """
    everything = list(range(len(places)))
    at_keys = [number for number in everything if keys[number]]
    ways = (("apart", at_keys, length), ("overlapping", at_keys, 1), ("at any frame", everything, 1))
    for way, usable, least_gap in ways:
        chosen = spread([places[i] for i in usable], [times_us[i] for i in usable], EACH, least_gap)
        if chosen:
            return way, [places[usable[number]] for number in chosen]
    return "fewer", places


def spread(places: Sequence[int], times: Sequence[int], number: int, apart: int) -> list[int]:
    """Indices of `number` of some rising places, at least `apart` from each other, nearest to even spacing in time.

    The sum of squared differences is least, in whole numbers, hence exact; of equal choices the earliest is taken.
    Empty where so many do not fit.
    """
    if len(places) < number:
        return []
    first, span, steps = times[0], times[-1] - times[0], number - 1
    best: dict[int, tuple[int, tuple[int, ...]]] = {-1: (0, ())}
    for step in range(number):
        ideal = steps * first + step * span  # everything times `steps`
        following = {}
        for i, (place, time) in enumerate(zip(places, times, strict=True)):
            before = [kept for last, kept in best.items() if last < 0 or place - places[last] >= apart]
            if before:
                cost, chosen = min(before)
                following[i] = (cost + (steps * time - ideal) ** 2, (*chosen, i))
        best = following
    return list(min(best.values())[1]) if best else []


def _notes(found: Counter[str], uneven: dict[str, int], clips: int) -> tuple[str, ...]:
    ways = ", ".join(f"{count} {way}" for way, count in sorted(found.items()))
    gaps = ", ".join(f"{camera} {uneven[camera]}" for camera in CAMERAS)
    return (
        f"clips of {found.total()} scenes and cameras: {ways}; {clips} in all, {min(clips, KEPT)} kept",
        f"steps between frames that are too long or too short: {gaps}",
    )
