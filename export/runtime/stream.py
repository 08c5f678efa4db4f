"""Frames of a rig's cameras in, one time step at a time; the next chunk out as soon as enough are there.

    stream = CameraStream(predictor)
    for frames in cameras:                             # uint8 [N, H, W, 3] at the artifact's frame rate
        predicted = stream.push(frames)                # None, or uint8 [N, F, H, W, 3]

Frames have the artifact's size; `worldmodel.export.runtime.video.Fitting` cuts and scales pictures as training did.

Shape legend: N cameras, F frames, H height, W width, C colours (3).
"""

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.runtime.predictor import Predictor


class CameraStream:
    """The latest F frames of every camera, and a prediction from them every `stride` frames.

    Args:
        predictor: of an artifact with a fixed shape, or whose frames, size and cameras as exported are to be used.
        stride: frames from one prediction to the next; None is a whole chunk, 1 predicts with every frame.
        steps: evaluations of the network; None takes the artifact's default.

    Raises:
        InputError: `stride` below 1, or `steps` that the artifact has no schedule for.

    Attributes:
        seen: time steps pushed so far; a prediction shows what follows after them.
    """

    def __init__(self, predictor: Predictor, stride: int | None = None, steps: int | None = None) -> None:
        manifest = predictor.artifact.manifest
        if stride is not None and stride < 1:
            raise InputError(f"stride={stride}: use at least 1")
        manifest.schedule(steps)
        self._predictor, self._steps = predictor, steps
        self._stride = manifest.frames if stride is None else stride
        self._ring_NFHWC = np.zeros(manifest.video_shape, np.uint8)
        self.seen = 0

    def push(self, frames_NHWC: np.ndarray) -> np.ndarray | None:
        """Take one frame of every camera, uint8 [N, H, W, 3], taken at the same time.

        Returns:
            The chunk that follows, uint8 [N, F, H, W, 3], when the first F frames are there and then after every
            `stride` frames; else None.

        Raises:
            InputError: frames of another shape or dtype; they are not taken.
        """
        cameras, length, *size = self._ring_NFHWC.shape
        if frames_NHWC.dtype != np.uint8 or frames_NHWC.shape != (cameras, *size):
            raise InputError(
                f"frames of {frames_NHWC.dtype} {list(frames_NHWC.shape)}: push uint8 {[cameras, *size]}, one frame of"
                " every camera; cut and scale them, or export for this shape"
            )
        self._ring_NFHWC[:, self.seen % length] = frames_NHWC
        self.seen += 1
        if self.seen < length or (self.seen - length) % self._stride:
            return None
        return self._predictor.predict(self._latest(), self._steps)

    def restart(self) -> None:
        """Forget all frames, for a new drive or after a gap."""
        self.seen = 0

    def _latest(self) -> np.ndarray:
        """uint8 [N, F, H, W, 3], the oldest frame first."""
        oldest = self.seen % self._ring_NFHWC.shape[1]
        return np.concatenate([self._ring_NFHWC[:, oldest:], self._ring_NFHWC[:, :oldest]], axis=1)
