"""The image sequences that one camera of a rollout has: observed, predicted, truth, error.

Shape legend: C colours (3), H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from worldmodel.viewing.images import error_map
from worldmodel.viewing.rollout import Rollout


@dataclass(frozen=True)
class FrameSequence:
    """One sequence: its path below the camera's entity, the `rollout_frame` it starts at, and its frames."""

    path: tuple[str, ...]
    start: int
    length: int
    frame: Callable[[int], UInt8[Tensor, "3 H W"]]


def camera_sequences(rollout: Rollout, camera: int) -> list[FrameSequence]:
    """Every sequence of camera number `camera`; an error is worked out when its frame is asked for."""
    now = rollout.observed_frames
    sequences = [FrameSequence(("observed",), 0, now, rollout.observed_NFCHW[camera].__getitem__)]
    for method, video_NGCHW in rollout.predicted_NGCHW.items():
        sequences.append(FrameSequence(("predicted", method), now, rollout.horizon, video_NGCHW[camera].__getitem__))
    if rollout.truth_NTCHW is None:
        return sequences
    truth_TCHW = rollout.truth_NTCHW[camera]
    sequences.append(FrameSequence(("truth",), now, rollout.truth_frames, truth_TCHW.__getitem__))
    for method, video_NGCHW in rollout.predicted_NGCHW.items():
        sequences.append(
            FrameSequence(("error", method), now, rollout.truth_frames, _error_frames(video_NGCHW[camera], truth_TCHW))
        )
    return sequences


def _error_frames(
    predicted_GCHW: UInt8[Tensor, "G 3 H W"], truth_TCHW: UInt8[Tensor, "T 3 H W"]
) -> Callable[[int], UInt8[Tensor, "3 H W"]]:
    return lambda index: error_map(predicted_GCHW[index : index + 1], truth_TCHW[index : index + 1])[0]
