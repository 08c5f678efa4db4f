"""A made-up drive: six cameras with nuScenes-like calibration, textured frames that move, a curved path."""

import numpy as np
import pytest
import torch

from worldmodel.datasets.timing import LIDAR_TURN_S
from worldmodel.datasets.toyworld.firing import triggered_turns
from worldmodel.viewing.rollout import Rollout

YAWS_DEGREES = {
    "CAM_FRONT": 0.0,
    "CAM_FRONT_RIGHT": -55.0,
    "CAM_BACK_RIGHT": -110.0,
    "CAM_BACK": 180.0,
    "CAM_BACK_LEFT": 110.0,
    "CAM_FRONT_LEFT": 55.0,
}


def texture(side: int, generator: torch.Generator) -> torch.Tensor:
    """A picture with detail at every scale, [3, side, side] uint8."""
    total = torch.zeros(1, 3, side, side)
    for octave in range(2, 9):
        noise = torch.randn(1, 3, 2**octave, 2**octave, generator=generator)
        total += torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic") / 2 ** (octave - 2)
    return (128 + 45 * total[0]).clamp(0, 255).to(torch.uint8)


def moving_frames(cameras: int, frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """[N, frames, 3, H, W] uint8: every camera pans over its own texture by 3 pixels a frame."""
    generator = torch.Generator().manual_seed(seed)
    videos = []
    for _ in range(cameras):
        picture = texture(width + 3 * frames + 1, generator)
        videos.append(torch.stack([picture[:, :height, 3 * frame : 3 * frame + width] for frame in range(frames)]))
    return torch.stack(videos)


def rotation_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def camera_to_ego(yaw_degrees: float) -> np.ndarray:
    """A camera at 1.5 m that looks along the yaw: its z forward, x right, y down."""
    pose = np.eye(4)
    look = rotation_z(np.deg2rad(yaw_degrees))
    pose[:3, :3] = look @ np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pose[:3, 3] = np.array([0.9, 0.0, 1.5]) + look @ np.array([0.6, 0.0, 0.0])
    return pose


def curved_drive(times_s: np.ndarray) -> np.ndarray:
    """Ego poses at 8 m/s on a circle of 60 m, somewhere in the middle of a map."""
    poses = np.tile(np.eye(4), (*times_s.shape, 1, 1))
    angle = 8.0 * (times_s - times_s.min()) / 60.0
    for index in np.ndindex(times_s.shape):
        poses[index][:3, :3] = rotation_z(angle[index])
    poses[..., 0, 3] = 600.0 + 60.0 * np.sin(angle)
    poses[..., 1, 3] = 1600.0 + 60.0 * (1.0 - np.cos(angle))
    return poses


def synthetic_rollout(
    cameras=tuple(YAWS_DEGREES), observed=17, horizon=17, truth=17, height=256, width=384, methods=("flowframes",)
) -> Rollout:
    """A rollout whose predictions are the truth with growing noise and lag."""
    count = len(cameras)
    frames = moving_frames(count, observed + horizon, height, width)
    future = frames[:, observed:]
    predicted = {}
    for number, method in enumerate(methods):
        noise = torch.randn(future.shape, generator=torch.Generator().manual_seed(number)) * (number + 1)
        growing = noise * torch.arange(1, horizon + 1).reshape(1, -1, 1, 1, 1)
        predicted[method] = (future.float() + growing).clamp(0, 255).to(torch.uint8)
    fired = LIDAR_TURN_S * triggered_turns(2 * (observed + horizon))[: observed + horizon]
    times_s = 1_532_402_927.6 + fired + 0.01 * np.arange(count)[:, None]
    known = set(cameras) <= set(YAWS_DEGREES)
    focal = 0.94 * width
    pinhole = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Rollout(
        scene="scene-synthetic",
        cameras=tuple(cameras),
        observed_NFCHW=frames[:, :observed],
        predicted_NGCHW=predicted,
        truth_NTCHW=future[:, :truth] if truth else None,
        times_s=times_s,
        intrinsics=np.stack([pinhole] * count) if known else None,
        extrinsics=np.stack([camera_to_ego(YAWS_DEGREES[name]) for name in cameras]) if known else None,
        ego_poses=curved_drive(times_s) if known else None,
        settings={"backbone": "tiny", "NFE": 5},
    )


@pytest.fixture(scope="session")
def small_rollout() -> Rollout:
    """Two cameras at 48 x 72 in nuScenes' names, two methods, less truth than prediction."""
    return synthetic_rollout(
        ("CAM_FRONT", "CAM_FRONT_LEFT"), observed=5, horizon=8, truth=6, height=48, width=72, methods=("ours", "repeat")
    )


@pytest.fixture(scope="session")
def full_rollout() -> Rollout:
    """Six cameras, 17 + 17 frames at 256 x 384."""
    return synthetic_rollout()


@pytest.fixture(scope="session")
def make_rollout():
    """The function that makes such rollouts, for other sizes and rigs."""
    return synthetic_rollout
