"""Vista's action annotations of a clip, from the vehicle's poses at the key frames of the two seconds that follow.

baselines.md, section 7 (Vista's paper, appendix C): the positions of LIDAR_TOP at the clip's sample and the next four
(0, 0.5, 1, 1.5, 2 s) in the lidar's frame at the first one: x to the right, y ahead, so `traj` holds (-x, y). The
command follows from the end point: turned where it lies 2 m or more aside, stopped where it lies at most 2 m ahead,
else forward. `goal` is that point in the camera's first picture. Tables without LIDAR_TOP (the toy world) give the
vehicle's own origin, seen along the lidar's axes, at the camera's key frames.

Not proven against Vista's own file, which is not at hand. Legend: P clips, K key frames (5).
"""

import numpy as np
from jaxtyping import Float64, Int32

from worldmodel.benchmarks.clips.clip_list import Actions
from worldmodel.datasets.nuscenes import NuScenesIndex, geometry

KEY_FRAMES = 5
TURN_M = STOP_M = 2.0
RIGHT, LEFT, STOP, FORWARD = range(4)
PICTURE = (1600, 900)
DECIMALS = 6
# The lidar's axes (right, ahead, up) in the vehicle's (ahead, left, up).
LIDAR_AXES = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def actions_of(index: NuScenesIndex, camera: str, rows_P: Int32[np.ndarray, "P"]) -> list[Actions | None]:
    """Actions of the clips of `camera` that begin with these rows of `sample_data`.

    None where the clip does not begin at a key frame or its scene ends within the two seconds.
    """
    seen_by = "LIDAR_TOP" if "LIDAR_TOP" in index.texts("sensor", "channel") else camera
    rows_PK = _reference_rows(index, seen_by, rows_P)
    known = np.flatnonzero((rows_PK >= 0).all(axis=1))
    actions: list[Actions | None] = [None] * len(rows_P)
    poses = _poses(index, seen_by, rows_PK[known])
    goals = _goals(index, rows_P[known], poses[:, -1, :3, 3])
    for place, traj, (u, v, z) in zip(known.tolist(), _waypoints(poses).tolist(), goals.tolist(), strict=True):
        actions[place] = Actions(tuple(traj), command(*traj[-2:]), (u, v), z)
    return actions


def command(left_m: float, ahead_m: float) -> int:
    """Vista's command for a vehicle that is there after two seconds: 0 right, 1 left, 2 stop, 3 forward."""
    if abs(left_m) >= TURN_M:
        return LEFT if left_m > 0 else RIGHT
    return STOP if ahead_m <= STOP_M else FORWARD


def _reference_rows(index: NuScenesIndex, channel: str, rows_P: np.ndarray) -> Int32[np.ndarray, "P K"]:
    """Key frames of `channel` of the clips' samples and the four after; -1 where there is none."""
    column = {name: index.column("sample_data", name) for name in ("sample_token", "is_key_frame", "sensor")}
    sensor = index.texts("sensor", "channel").index(channel)
    keys = np.flatnonzero((column["sensor"] == sensor) & (column["is_key_frame"] == 1) & (column["sample_token"] >= 0))
    row_of_sample = np.full(index.rows("sample") + 1, -1, dtype=np.int32)  # the last one is that of "no sample"
    row_of_sample[column["sample_token"][keys]] = keys
    following = np.append(index.column("sample", "next"), np.int32(-1))
    samples = [np.where(column["is_key_frame"][rows_P] == 1, column["sample_token"][rows_P], -1)]
    for _ in range(KEY_FRAMES - 1):
        samples.append(following[samples[-1]])
    return row_of_sample[np.stack(samples, axis=1)]


def _poses(index: NuScenesIndex, channel: str, rows_PK: np.ndarray) -> Float64[np.ndarray, "P K 4 4"]:
    """The reference's frame (right, ahead, up) to the global one at each row."""
    rows = rows_PK.reshape(-1)
    mounted = geometry.extrinsics(index, rows) if channel == "LIDAR_TOP" else LIDAR_AXES
    return (geometry.ego_poses(index, rows) @ mounted).reshape(*rows_PK.shape, 4, 4)


def _waypoints(poses: Float64[np.ndarray, "P K 4 4"]) -> Float64[np.ndarray, "P 2*K"]:
    seen = np.linalg.inv(poses[:, :1]) @ poses[..., 3:]
    left_and_ahead = np.stack([-seen[..., 0, 0], seen[..., 1, 0]], axis=-1)
    return (
        left_and_ahead.reshape(len(seen), 2 * seen.shape[1]).round(DECIMALS) + 0.0
    )  # + 0.0: no -0.0 in a published file


def _goals(index: NuScenesIndex, rows_P: np.ndarray, points_P3: np.ndarray) -> Float64[np.ndarray, "P 3"]:
    """Each global point in the picture of a row: u and v in pixels of 1600 x 900, depth in metres.

    Zeros, which Vista takes as "not in the picture", where the camera is not calibrated or the point has no depth.
    """
    cameras = geometry.ego_poses(index, rows_P) @ geometry.extrinsics(index, rows_P)
    points = np.concatenate([points_P3, np.ones((len(points_P3), 1))], axis=1)[..., None]
    seen = geometry.intrinsics(index, rows_P) @ (np.linalg.inv(cameras) @ points)[:, :3]
    depth = seen[:, 2, 0].round(DECIMALS)
    sizes = np.stack([index.column("sample_data", name)[rows_P] for name in ("width", "height")], axis=1)
    usable = np.isfinite(seen[..., 0]).all(axis=1) & (depth != 0) & (sizes > 0).all(axis=1)
    goals = np.zeros((len(rows_P), 3))
    scale = np.array(PICTURE) / sizes[usable]
    goals[usable, :2] = seen[usable, :2, 0] / seen[usable, 2] * scale
    goals[usable, 2] = depth[usable]
    return goals.round(DECIMALS) + 0.0
