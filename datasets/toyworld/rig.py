"""The six cameras of a nuScenes vehicle: channel order, intrinsics, extrinsics, when each fires.

Values are those of one published nuScenes calibration (1600 x 900 pixels; camera frame x right, y down, z forward;
ego frame x forward, y left, z up with its origin on the ground below the rear axle; metres).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from worldmodel.datasets.timing import LIDAR_TURN_S

FULL_SIZE = (1600, 900)
SEAM_DEG = 254.5
"""Where a turn of the lidar begins and ends, degrees clockwise from ahead: just behind the axis of CAM_BACK_LEFT."""


@dataclass(frozen=True)
class RigCamera:
    """One camera of the rig.

    Attributes:
        channel: nuScenes channel name.
        focal, centre: pinhole parameters in pixels of a 1600 x 900 picture (fx = fy).
        translation: camera position in the ego frame, metres.
        rotation: camera to ego, quaternion w x y z.
    """

    channel: str
    focal: float
    centre: tuple[float, float]
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    @property
    def fires_s(self) -> float:
        """When this camera fires, in seconds after the end of a turn of the lidar (negative): as it passes the axis.

        Within 0.3 ms of the published stamps of scene-0103: -35.4, -27.3, -19.7, -10.3, -0.4, -42.9 ms in this order.
        """
        x, y, _ = rotation_matrix(self.rotation)[:, 2]
        clockwise = -np.degrees(np.arctan2(y, x))
        return float(-((SEAM_DEG - clockwise) % 360) / 360 * LIDAR_TURN_S)

    def intrinsic(self, size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
        """Pinhole matrix in pixels of a picture of `size` = (width, height)."""
        scale_x, scale_y = size[0] / FULL_SIZE[0], size[1] / FULL_SIZE[1]
        return np.array(
            [
                [self.focal * scale_x, 0.0, self.centre[0] * scale_x],
                [0.0, self.focal * scale_y, self.centre[1] * scale_y],
                [0.0, 0.0, 1.0],
            ]
        )

    def extrinsic(self) -> Float64[np.ndarray, "4 4"]:
        """Camera to ego, metres."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_matrix(self.rotation)
        matrix[:3, 3] = self.translation
        return matrix


def rotation_matrix(quaternion: tuple[float, float, float, float]) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix of a quaternion w x y z (normalised here)."""
    w, x, y, z = np.asarray(quaternion, dtype=np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def pose_matrix(x: float, y: float, yaw: float) -> Float64[np.ndarray, "4 4"]:
    """Something standing on flat ground (ego vehicle or car) to global, metres and radians."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0, x], [sin, cos, 0.0, y], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


# In the order in which nuScenes lists them: clockwise from the front.
RIG: tuple[RigCamera, ...] = (
    RigCamera(
        "CAM_FRONT",
        1266.417203046554,
        (816.2670197447984, 491.50706579294757),
        (1.70079118954, 0.0159456324149, 1.51095763913),
        (0.4998015430569128, -0.5030316162024876, 0.4997798114386805, -0.49737083824542755),
    ),
    RigCamera(
        "CAM_FRONT_RIGHT",
        1260.8474446004698,
        (807.968244525554, 495.3344268742088),
        (1.5508477543, -0.493404796419, 1.49574800619),
        (0.2060347966337182, -0.2026940577919598, 0.6824507824531167, -0.6713610884174485),
    ),
    RigCamera(
        "CAM_BACK_RIGHT",
        1259.5137405846733,
        (807.2529053838625, 501.19579884916527),
        (1.0148780988, -0.480568219723, 1.56239545128),
        (0.12280980120078765, -0.132400842670559, -0.7004305821388234, 0.690496031265798),
    ),
    RigCamera(
        "CAM_BACK",
        809.2209905677063,
        (829.2196003259838, 481.77842384512485),
        (0.0283260309358, 0.00345136761476, 1.57910346144),
        (0.5037872666382278, -0.49740249788611096, -0.4941850223835201, 0.5045496097725578),
    ),
    RigCamera(
        "CAM_BACK_LEFT",
        1256.7414812095406,
        (792.1125740759628, 492.7757465151356),
        (1.03569100218, 0.484795032713, 1.59097014818),
        (0.6924185592174665, -0.7031619420114925, -0.11648342771943819, 0.11203317912370753),
    ),
    RigCamera(
        "CAM_FRONT_LEFT",
        1272.5979470598488,
        (826.6154927353808, 479.75165386361925),
        (1.52387798135, 0.494631336551, 1.50932822144),
        (0.6757265034669446, -0.6736266522251881, 0.21214015046209478, -0.21122827103904068),
    ),
)
