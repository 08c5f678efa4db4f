"""Which scenes and cameras of a dataset are asked for, by name."""

from collections.abc import Sequence

from worldmodel.datasets.nuscenes.chains import RING
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.splits import scenes_of_split
from worldmodel.errors import InputError


def chosen_scenes(
    index: NuScenesIndex, scenes: Sequence[str] | str | None, split: str | None
) -> tuple[list[str], list[str]]:
    """Names of the scenes asked for, and of those of the split that these tables do not have.

    Raises:
        InputError: scenes and a split, an unknown one, or none at all.
    """
    here = index.scene_names
    if scenes is not None and split is not None:
        raise InputError("give scenes or split, not both")
    if split is not None:
        wanted = scenes_of_split(index.root, index.version, split)
        present = [name for name in wanted if name in set(here)]
        if not present:
            raise InputError(f"no scene of split {split!r} is in {index.root / index.version}; it has {_some(here)}")
        return present, [name for name in wanted if name not in set(here)]
    if isinstance(scenes, str):
        scenes = [scenes]
    unknown = [name for name in scenes or () if name not in here]
    if unknown:
        raise InputError(f"scene {unknown[0]!r} is not in {index.root / index.version}; it has {_some(here)}")
    if not (here if scenes is None else scenes):
        raise InputError(f"no scene to cut: {index.root / index.version}/scene.json or the list of scenes is empty")
    return list(here if scenes is None else scenes), []


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def chosen_cameras(index: NuScenesIndex, cameras: Sequence[str] | str | None) -> tuple[str, ...]:
    """Names of the cameras asked for, by default `default_cameras`.

    Raises:
        InputError: no name, or one twice.
    """
    if cameras is None:
        return default_cameras(index)
    cameras = (cameras,) if isinstance(cameras, str) else tuple(cameras)
    if not cameras:
        raise InputError("cameras is empty; name at least one, or leave it out for all")
    repeated = [name for name in cameras if cameras.count(name) > 1]
    if repeated:
        raise InputError(f"cameras names {repeated[0]} twice; name each camera once")
    return cameras


def default_cameras(index: NuScenesIndex) -> tuple[str, ...]:
    """Those of the six nuScenes cameras that have frames, in ring order, or all cameras of another rig that have."""
    present = index.cameras_with_frames
    ring = tuple(name for name in RING if name in present)
    if not index.camera_names:
        raise InputError(
            f"{index.root / index.version}/sensor.json has no sensor of modality 'camera'; use another version"
        )
    return ring or tuple(present or index.camera_names)
