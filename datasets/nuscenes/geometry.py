"""Poses and calibration of nuScenes rows as matrices.

nuScenes writes rotations as unit quaternions (w, x, y, z) and translations in metres.
Shape legend: R rows.
"""

import numpy as np
from jaxtyping import Float64

from worldmodel.datasets.nuscenes.index import NuScenesIndex


def pose_matrices(
    rotations_R4: Float64[np.ndarray, "R 4"], translations_R3: Float64[np.ndarray, "R 3"]
) -> Float64[np.ndarray, "R 4 4"]:
    """Rigid transforms from quaternions (w, x, y, z; normalised here) and translations in metres."""
    w, x, y, z = (rotations_R4 / np.linalg.norm(rotations_R4, axis=1, keepdims=True)).T
    matrices = np.zeros((len(rotations_R4), 4, 4))
    matrices[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=1)
    matrices[:, 1, :3] = np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=1)
    matrices[:, 2, :3] = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1)
    matrices[:, :3, 3] = translations_R3
    matrices[:, 3, 3] = 1
    return matrices


def ego_poses(index: NuScenesIndex, rows: np.ndarray) -> Float64[np.ndarray, "R 4 4"]:
    """Ego vehicle to global frame at the time of each `sample_data` row."""
    poses = index.column("sample_data", "ego_pose_token")[rows]
    return pose_matrices(index.column("ego_pose", "rotation")[poses], index.column("ego_pose", "translation")[poses])


def extrinsics(index: NuScenesIndex, rows: np.ndarray) -> Float64[np.ndarray, "R 4 4"]:
    """Sensor to ego vehicle for each `sample_data` row."""
    calibrated = index.column("sample_data", "calibrated_sensor_token")[rows]
    rotations = index.column("calibrated_sensor", "rotation")[calibrated]
    return pose_matrices(rotations, index.column("calibrated_sensor", "translation")[calibrated])


def intrinsics(index: NuScenesIndex, rows: np.ndarray) -> Float64[np.ndarray, "R 3 3"]:
    """Pinhole matrices in pixels of the original pictures for each `sample_data` row."""
    calibrated = index.column("sample_data", "calibrated_sensor_token")[rows]
    matrices: np.ndarray = index.column("calibrated_sensor", "camera_intrinsic")[calibrated].reshape(-1, 3, 3)
    return matrices
