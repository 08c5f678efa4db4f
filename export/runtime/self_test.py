"""What an artifact is tested with on every machine: frames that follow from a seed, and what was predicted from them.

The frames are drawn by the Mersenne Twister (numpy's frozen `RandomState`, `std::mt19937` in C++), whose numbers stay
the same in all versions and languages. They show a coarse random texture that moves sideways by a pixel a frame.

Shape legend: B clips (cameras), F frames, H height, W width, C colours (3); G blocks a side of a thumbnail.
"""

import base64
import hashlib
from dataclasses import dataclass

import numpy as np

from worldmodel.export.runtime.manifest_fields import SelfTest

CELL = 8
BLOCKS = 4


@dataclass(frozen=True)
class SelfTestResult:
    """A prediction beside the one that the artifact notes.

    Attributes:
        exact: every pixel is equal.
        difference: largest difference of a block's mean, in levels of 255.
        passed: `difference` is within the artifact's tolerance. Another machine rounds differently, so a prediction
            may pass without being exact.
    """

    exact: bool
    difference: float
    passed: bool


def observed_frames(seed: int, shape: tuple[int, int, int, int, int]) -> np.ndarray:
    """uint8 [B, F, H, W, 3]: frame k is the texture of 8 x 8 cells seen from k pixels further to the right."""
    cameras, frames, height, width, colours = shape
    rows, columns = -(-height // CELL), -(-(width + frames) // CELL)
    drawn = np.random.RandomState(seed).bytes(cameras * rows * columns * colours)
    texture = np.frombuffer(drawn, np.uint8).reshape(cameras, rows, columns, colours)
    wide = texture.repeat(CELL, axis=1)[:, :height].repeat(CELL, axis=2)
    return np.stack([wide[:, :, frame : frame + width] for frame in range(frames)], axis=1)


def note(predicted_BFHWC: np.ndarray, seed: int, steps: int, tolerance: float) -> SelfTest:
    """The self-test of an artifact from what it predicted, from `observed_frames` of this seed, where it was made."""
    small = np.rint(thumbnail(predicted_BFHWC)).astype(np.uint8)
    return SelfTest(seed, steps, pixels_sha256(predicted_BFHWC), base64.b64encode(small.tobytes()).decode(), tolerance)


def compare(predicted_BFHWC: np.ndarray, noted: SelfTest) -> SelfTestResult:
    """The prediction of this machine beside what was noted."""
    ours = thumbnail(predicted_BFHWC)
    theirs = np.frombuffer(base64.b64decode(noted.thumbnail), np.uint8).reshape(ours.shape)
    difference = float(np.abs(np.rint(ours) - theirs).max())
    return SelfTestResult(pixels_sha256(predicted_BFHWC) == noted.sha256, difference, difference <= noted.tolerance)


def pixels_sha256(video_BFHWC: np.ndarray) -> str:
    """sha256 of uint8 pixels in the order [B, F, H, W, 3]."""
    return hashlib.sha256(np.ascontiguousarray(video_BFHWC).tobytes()).hexdigest()


def thumbnail(video_BFHWC: np.ndarray) -> np.ndarray:
    """Means of BLOCKS x BLOCKS blocks of each frame, float64 [B, F, G, G, 3]; blocks differ by a pixel at most."""
    for axis in (2, 3):
        edges = np.linspace(0, video_BFHWC.shape[axis], BLOCKS + 1).astype(int)
        blocks = np.split(video_BFHWC, edges[1:-1], axis=axis)
        video_BFHWC = np.concatenate([block.mean(axis=axis, keepdims=True) for block in blocks], axis=axis)
    return video_BFHWC
