"""Each camera's frames in order: the `next` chains of `sample_data`, walked for all cameras and scenes at once.

Shape legend: R frames of one chain, S all frames of all chains.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int32

from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.timing import nominal_rate
from worldmodel.datasets.video.frame_rate import check_rate
from worldmodel.errors import InputError

RING = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT")
"""nuScenes' cameras going round the vehicle, clockwise from the front left."""
ENOUGH_STEPS = 20
"""Steps from which on a camera's rate is compared with the others'."""


@dataclass(frozen=True)
class CameraChains:
    """All chains of some cameras. A chain is a run of frames of one camera in one scene, linked by `next`.

    Attributes:
        rows_S: rows of `sample_data`, chain after chain, each in driving order.
        starts: K + 1 offsets into `rows_S`; chain k is ``rows_S[starts[k]:starts[k + 1]]``.
        scenes, sensors: row of `scene` and of `sensor` of each of the K chains.
        times_S: capture time of each frame in seconds, from each dataset's own clock.
    """

    rows_S: Int32[np.ndarray, "S"]
    starts: np.ndarray
    scenes: np.ndarray
    sensors: np.ndarray
    times_S: Float64[np.ndarray, "S"]

    def span(self, scene: int, sensor: int) -> tuple[int, int, np.ndarray]:
        """One camera's frames of one scene: begin and end in `rows_S`, and where its chains begin.

        Chains are sorted by scene, then sensor, then time: those of one camera in one scene lie side by side.
        """
        low, high = np.searchsorted(self.scenes, [scene, scene + 1])
        mine = low + np.flatnonzero(self.sensors[low:high] == sensor)
        if not len(mine):
            return 0, 0, np.zeros(0, dtype=np.int64)
        return int(self.starts[mine[0]]), int(self.starts[mine[-1] + 1]), self.starts[mine]


@lru_cache(maxsize=4)  # cutting one scene after another asks for the same chains again
def camera_chains(index: NuScenesIndex, cameras: tuple[str, ...]) -> CameraChains:
    """Walk the `next` chains of `cameras` in all scenes.

    All chains advance together, one frame per step, so the cost is one vectorised step per frame of the longest chain.
    Frames whose references were left out (`skip_bad`) end a chain. Raises InputError for a camera that the rig lacks.
    """
    sensors = [_sensor_row(index, camera) for camera in cameras]
    sensor, following = index.column("sample_data", "sensor"), index.column("sample_data", "next")
    complete = np.isin(sensor, sensors)
    for column in ("sample_token", "ego_pose_token"):
        complete &= index.column("sample_data", column) >= 0
    after = np.where(complete, following, -1)
    after[(after >= 0) & ~complete[after]] = -1
    return _chains(index, complete, after)


@lru_cache(maxsize=4)
def frame_rate(index: NuScenesIndex, cameras: tuple[str, ...]) -> float:
    """Nominal frames per second of these cameras, in all scenes: 12 for nuScenes (see `nominal_rate`).

    Raises:
        InputError: no camera has two frames in a row, time stamps are not those of a camera, or rates differ.
    """
    chains = camera_chains(index, cameras)
    chain = np.repeat(np.arange(len(chains.sensors)), np.diff(chains.starts))
    inside = chain[1:] == chain[:-1]
    steps, sensors = np.diff(chains.times_S)[inside], chains.sensors[chain[1:][inside]]
    if not len(steps):
        raise InputError(f"{_table(index)}: no camera has two frames in a row; choose tables with whole scenes")
    if not (steps > 0).any():
        raise InputError(
            f"{_table(index)}: no time stamp of {', '.join(cameras)} is later than the one before it, from record"
            f" {chains.rows_S[0]} on; write the capture times in microseconds"
        )
    rates = {c: steps[sensors == _sensor_row(index, c)] for c in cameras}
    _refuse_other_rates(index, {c: nominal_rate(own) for c, own in rates.items() if (own > 0).sum() >= ENOUGH_STEPS})
    remedy = "write the capture times in microseconds"
    return check_rate(nominal_rate(steps), f"{_table(index)}: {', '.join(cameras)}", remedy)


def _refuse_other_rates(index: NuScenesIndex, rates: dict[str, float]) -> None:
    if rates and max(rates.values()) > 1.1 * min(rates.values()):
        listed = ", ".join(f"{camera} {rate:g}" for camera, rate in rates.items())
        raise InputError(f"{_table(index)}: frames per second differ: {listed}; choose cameras= of one rate")


def _table(index: NuScenesIndex) -> str:
    return f"{index.root / index.version}/sample_data.json"


def _sensor_row(index: NuScenesIndex, camera: str) -> int:
    names = index.camera_names
    if camera not in names:
        raise InputError(
            f"camera {camera!r} is not in {index.root / index.version}/sensor.json; use one of {', '.join(names)}"
        )
    return index.texts("sensor", "channel").index(camera)


def _chains(index: NuScenesIndex, complete: np.ndarray, after: np.ndarray) -> CameraChains:
    has_before = np.zeros(len(after), dtype=bool)
    has_before[after[after >= 0]] = True
    heads = np.flatnonzero(complete & ~has_before)
    scene = index.column("sample", "scene_token")[index.column("sample_data", "sample_token")[heads]]
    sensor = index.column("sample_data", "sensor")[heads]
    first = index.column("sample_data", "timestamp")[heads]
    order = np.lexsort((first, sensor, scene))
    heads, scene, sensor = heads[order], scene[order], sensor[order]
    rows, lengths = _walk(heads, after)
    if len(rows) != int(complete.sum()):
        raise InputError(
            f"{index.root / index.version}/sample_data.json: a `next` chain turns in a circle; restore the table"
        )
    times = index.column("sample_data", "timestamp")[rows] * 1e-6
    return CameraChains(rows, np.concatenate([[0], np.cumsum(lengths)]), scene, sensor, times)


def _walk(heads: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows chain by chain, and the length of each chain."""
    chain, row = np.arange(len(heads)), heads.astype(np.int32)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    while len(row):
        steps.append((chain, row))
        row = after[row]
        alive = row >= 0
        chain, row = chain[alive], row[alive]
    if not steps:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
    chains, rows = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    return rows[np.argsort(chains, kind="stable")], np.bincount(chains, minlength=len(heads))
