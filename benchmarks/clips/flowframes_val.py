"""`flowframes-val@2`: the published code's clips of nuScenes, sweeps cut from the start of each scene. See its card.

Legend: R sweeps of one camera in one scene, P clips, L frames of a clip.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Int32

from worldmodel.benchmarks.clips.clip_list import Clip, ClipList
from worldmodel.benchmarks.clips.tables import ValScenes, clips_of, open_val
from worldmodel.datasets.nuscenes.chains import CameraChains, camera_chains
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError

if TYPE_CHECKING:
    from worldmodel.benchmarks.clips.registry import ClipsConfig

CAMERAS = ("CAM_FRONT", "CAM_BACK", "CAM_FRONT_LEFT")
FRAMES, KEPT, SEED = 34, 2000, 4543543  # the seed is the published one
VAL_SCENES, FEWEST_SWEEPS = 150, 184  # of a scene and camera, counted on the real CAM_FRONT chains; the most are 199
RULE = """nuScenes val; CAM_FRONT, CAM_BACK, CAM_FRONT_LEFT, each by itself. Of each scene, in the order of scene.json,
the frames from the first key frame on by sample_data.next, without the key frames; cut from the start into clips of 34,
the rest dropped. Of all, camera after camera, 2,000 in the order of Python's random.Random(4543543).sample; where there
are fewer, all, in their order. Steps between frames are what they are: none is refused for being short or long."""
ItemT = TypeVar("ItemT")


def build(config: "ClipsConfig") -> ClipList:
    """The list of one nuScenes root; `frames` other than 34 makes clips of another length by the same rule.

    Raises:
        InputError: no val scene, or no clip at all.
    """
    val, length = open_val(config.root, config.version or "v1.0-trainval"), config.frames or FRAMES
    clips, notes = list[Clip](), list[str]()
    for camera in CAMERAS:
        of_camera = _of_camera(val, camera, length)
        notes.append(f"{camera}: {len(of_camera)} clips of {len({clip.scene for clip in of_camera})} scenes")
        clips += of_camera
    if not clips:
        raise InputError(f"flowframes-val: no scene of {val.index.root} has {length} sweeps; ask for fewer frames")
    notes.append(f"{len(clips)} clips in all, {min(len(clips), KEPT)} kept")
    return ClipList(
        name="flowframes-val",
        version=2,
        rule=" ".join(RULE.split()),
        expected=min(KEPT, VAL_SCENES * len(CAMERAS) * (FEWEST_SWEEPS // length)),
        frames=length,
        observed_frames=17,
        frame_rate=NOMINAL_RATE,
        tables=val.index.version,
        clips=tuple(drawn(clips, KEPT)),
        notes=(*val.notes, *notes),
    )


def windows(sweeps_R: Int32[np.ndarray, "R"], length: int) -> Int32[np.ndarray, "P L"]:
    """Consecutive runs of `length` from the start on; what is left at the end is dropped."""
    return sweeps_R[: len(sweeps_R) // length * length].reshape(-1, length)


def drawn(items: Sequence[ItemT], number: int) -> list[ItemT]:
    """`number` of them in the order of the published draw; all, in their own order, where there are fewer."""
    return list(items) if len(items) < number else random.Random(SEED).sample(items, number)


def _of_camera(val: ValScenes, camera: str, length: int) -> list[Clip]:
    """Every clip of one camera, scenes in the table's order; none where the rig lacks the camera."""
    index, wanted = val.index, set(val.names)
    if camera not in index.camera_names:
        return []
    chains = camera_chains(index, (camera,))
    key_S = index.column("sample_data", "is_key_frame")[chains.rows_S] == 1
    scenes = [row for row, name in enumerate(index.scene_names) if name in wanted]
    rows_PL = np.concatenate([windows(_sweeps(chains, key_S, scene), length) for scene in scenes])
    return clips_of(index, (camera,), rows_PL[:, None]) if len(rows_PL) else []


def _sweeps(chains: CameraChains, key_S: np.ndarray, scene: int) -> Int32[np.ndarray, "R"]:
    """Rows of a scene's frames that are no key frames: of its first chain with a key frame, from that one on."""
    for chain in np.flatnonzero(chains.scenes == scene):
        frames = slice(chains.starts[chain], chains.starts[chain + 1])
        rows, key = chains.rows_S[frames], key_S[frames]
        if key.any():
            first = int(key.argmax())
            return rows[first:][~key[first:]]
    return np.zeros(0, dtype=np.int32)
