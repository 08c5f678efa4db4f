"""What a model made of a drive: observed frames, predictions of one or several methods, and the truth where known.

Shape legend: N cameras, F observed frames, G predicted frames, T true frames (at most G), C colours (3), H height,
W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor

from worldmodel.datasets.nuscenes import RING
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError

CYCLE = 3
"""Frames after which the uneven steps of nuScenes' cameras repeat: the motion of so many is that of 1/4 s."""


def ring_order(cameras: tuple[str, ...]) -> list[int]:
    """Positions of `cameras` going round the vehicle from the front left; as given where a name is not nuScenes'."""
    if not set(cameras) <= set(RING):
        return list(range(len(cameras)))
    return sorted(range(len(cameras)), key=lambda camera: RING.index(cameras[camera]))


def short_name(camera: str) -> str:
    """`CAM_FRONT_LEFT` as a person says it: `FRONT_LEFT`."""
    return camera.removeprefix("CAM_")


@dataclass(frozen=True)
class Rollout:
    """Everything that a picture, a video or a recording of one rollout shows.

    Attributes:
        scene: name of the drive.
        cameras: N camera names, the order of every leading axis below.
        observed_NFCHW: the frames that the models saw, RGB uint8.
        predicted_NGCHW: RGB uint8 by method name; the first method is the one that pictures show by default.
        truth_NTCHW: what the cameras saw next, or None; T may be smaller than G.
        times_s: capture times in seconds, [N, F+G]; where there is no truth, extrapolated.
        intrinsics: pinhole matrices in pixels of the frames given here.
        extrinsics: camera to ego vehicle, metres.
        ego_poses: ego vehicle to global frame at each frame's own time, metres, [N, F+G, 4, 4].
        frame_rate: nominal frames per second.
        chunk_frames: how many frames a model predicts at once; later chunks are predicted from predictions.
        settings: what the run was made with, shown beside the pictures.

    Raises:
        InputError: sizes that do not belong together.
    """

    scene: str
    cameras: tuple[str, ...]
    observed_NFCHW: UInt8[Tensor, "N F 3 H W"]
    predicted_NGCHW: dict[str, UInt8[Tensor, "N G 3 H W"]]
    truth_NTCHW: UInt8[Tensor, "N T 3 H W"] | None
    times_s: Float64[np.ndarray, "N F+G"]
    intrinsics: Float64[np.ndarray, "N 3 3"] | None = None
    extrinsics: Float64[np.ndarray, "N 4 4"] | None = None
    ego_poses: Float64[np.ndarray, "N F+G 4 4"] | None = None
    frame_rate: float = 12.0
    chunk_frames: int = 17
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.predicted_NGCHW:
            raise InputError(f"rollout {self.scene}: no prediction; give at least one method's frames")
        frames, size = (len(self.cameras), self.horizon), tuple(self.observed_NFCHW.shape[2:])
        for method, video_NGCHW in self.predicted_NGCHW.items():
            if tuple(video_NGCHW.shape) != frames + size:
                raise InputError(
                    f"rollout {self.scene}: prediction of {method} is {list(video_NGCHW.shape)};"
                    f" give {list(frames + size)} like the cameras and the observed frames"
                )
        if tuple(self.times_s.shape) != (frames[0], self.observed_frames + frames[1]):
            raise InputError(
                f"rollout {self.scene}: times_s is {list(self.times_s.shape)};"
                f" give {[frames[0], self.observed_frames + frames[1]]}, observed then predicted"
            )
        if self.truth_frames > self.horizon:
            raise InputError(
                f"rollout {self.scene}: {self.truth_frames} true frames for {self.horizon} predicted;"
                f" give at most {self.horizon}"
            )

    @property
    def observed_frames(self) -> int:
        """F, the frames that the models saw."""
        return self.observed_NFCHW.shape[1]

    @property
    def horizon(self) -> int:
        """G, the frames that were predicted."""
        return next(iter(self.predicted_NGCHW.values())).shape[1]

    @property
    def truth_frames(self) -> int:
        """T, how many of the predicted frames have a truth."""
        return 0 if self.truth_NTCHW is None else self.truth_NTCHW.shape[1]

    def since_observed_s(self, frame: int) -> float:
        """Seconds from the last observed frame to predicted frame `frame`, of the first camera; before it negative."""
        times_s = self.times_s[0]
        return float(times_s[self.observed_frames + frame] - times_s[self.observed_frames - 1])

    @property
    def methods(self) -> tuple[str, ...]:
        """Method names, the one that is shown by default first."""
        return tuple(self.predicted_NGCHW)

    @property
    def ring(self) -> list[int]:
        """Positions of the cameras in ring order."""
        return ring_order(self.cameras)

    def prediction(self, method: str) -> UInt8[Tensor, "N G 3 H W"]:
        """Frames of one method; `InputError` names the methods that are there."""
        if method not in self.predicted_NGCHW:
            raise InputError(f"method {method}: not in this rollout; use one of {', '.join(self.methods)}")
        return self.predicted_NGCHW[method]

    @staticmethod
    def of_pair(
        pair: PixelPair,
        predicted_NGCHW: dict[str, UInt8[Tensor, "N G 3 H W"]],
        settings: Mapping[str, object] | None = None,
        chunk_frames: int | None = None,
        has_truth: bool = True,
    ) -> "Rollout":
        """The rollout that continues `pair`; it may be longer or shorter than the pair's future.

        Beyond the pair, times go on at the frame rate and ego poses with the motion of the last frames.
        `has_truth=False` says that the pair's future only fills the shape and is not what the cameras saw.
        """
        horizon = next(iter(predicted_NGCHW.values())).shape[1]
        total = pair.observed_NFCHW.shape[1] + horizon
        truth_NTCHW = pair.future_NGCHW[:, :horizon] if has_truth and pair.future_NGCHW.shape[1] else None
        times_s = _continued_times(pair.times_s, total, pair.frame_rate)
        return Rollout(
            scene=pair.scene,
            cameras=pair.cameras,
            observed_NFCHW=pair.observed_NFCHW,
            predicted_NGCHW=predicted_NGCHW,
            truth_NTCHW=truth_NTCHW,
            times_s=times_s,
            intrinsics=pair.intrinsics,
            extrinsics=pair.extrinsics,
            ego_poses=None if pair.ego_poses is None else _continued_poses(pair.ego_poses, times_s),
            frame_rate=pair.frame_rate,
            chunk_frames=chunk_frames or pair.observed_NFCHW.shape[1],
            settings=settings or {},
        )


def _continued_times(times_s: Float64[np.ndarray, "N M"], total: int, frame_rate: float) -> Float64[np.ndarray, "N K"]:
    missing = max(0, total - times_s.shape[1])
    later_s = times_s[:, -1:] + np.arange(1, missing + 1) / frame_rate
    return np.concatenate([times_s, later_s], axis=1)[:, :total]


def _continued_poses(
    poses: Float64[np.ndarray, "N M 4 4"], times_s: Float64[np.ndarray, "N K"]
) -> Float64[np.ndarray, "N K 4 4"]:
    known, total = poses.shape[1], times_s.shape[1]
    if known >= total:
        return poses[:, :total]
    back = min(CYCLE, known - 1)
    motion = np.linalg.inv(poses[:, -1 - back]) @ poses[:, -1]
    last_s, before_s = times_s[:, known - 1], times_s[:, known - 1 - back]
    share_NK = (times_s[:, known:] - last_s[:, None]) / (last_s - before_s)[:, None]
    return np.concatenate([poses, poses[:, -1:] @ _power(motion, share_NK)], axis=1)


def _power(motion: Float64[np.ndarray, "N 4 4"], share: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K 4 4"]:
    """A rigid motion that turns by less than half a radian, `share` times, which is 0 or more.

    Whole times by products; what is left, below 1, by the binomial series of (1 + X) ** left, which would lose all its
    digits in the hundreds of times that a long rollout of a turning vehicle takes.
    """
    whole_NK = np.floor(share).astype(int)
    times = np.stack([np.linalg.matrix_power(motion, number) for number in range(whole_NK.max() + 1)])
    left, rest = share - whole_NK, (motion - np.eye(4))[:, None]
    term = np.broadcast_to(np.eye(4), (*share.shape, 4, 4))
    total = term
    for number in range(1, 41):
        term = term @ rest * ((left - number + 1) / number)[..., None, None]
        total = total + term
    return times[whole_NK, np.arange(len(share))[:, None]] @ total
