"""The nominal rate and the gaps of real patterns, of clocked cameras, and of cameras that lose frames."""

import numpy as np
import pytest

from worldmodel.datasets.timing import (
    LIDAR_TURN_S,
    STEP_TURNS,
    is_gap,
    mean_step,
    missing_frames,
    nominal_rate,
)
from worldmodel.datasets.video.frame_rate import check_rate
from worldmodel.errors import InputError


def fired(frames: int, phase: int = 0) -> np.ndarray:
    """Times of a camera that the lidar fires, beginning at the pattern's step `phase`."""
    turns = [STEP_TURNS[(phase + number) % 3] for number in range(frames - 1)]
    return LIDAR_TURN_S * np.concatenate([[0], np.cumsum(turns)])


def clocked(rate: float, frames: int) -> np.ndarray:
    return np.arange(frames) / rate


def steps(times_s: np.ndarray, lost: float = 0.0, jitter: float = 0.0, seed: int = 0) -> np.ndarray:
    """Steps after a part of the frames is lost and every time moves by up to `jitter` of a frame time."""
    rng = np.random.default_rng(seed)
    moved = times_s + rng.uniform(-jitter, jitter, len(times_s)) * times_s[-1] / len(times_s)
    return np.diff(moved[rng.random(len(times_s)) >= lost])


@pytest.mark.parametrize("lost", [0.0, 0.02, 0.1, 0.25])
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_fired_by_the_lidar_is_12_hz(phase: int, lost: float) -> None:
    assert nominal_rate(steps(fired(235, phase), lost, jitter=0.02)) == 12.0


def test_the_mean_step_leaves_gaps_out() -> None:
    times_s = fired(25)
    assert mean_step(np.diff(times_s)) == pytest.approx(1 / 12)
    assert mean_step(np.diff(np.delete(times_s, [7, 12, 13]))) == pytest.approx(1 / 12, rel=0.03)
    assert mean_step(np.zeros(3)) == mean_step(np.zeros(0)) == 0.0


@pytest.mark.parametrize("rate", [1, 2, 5, 10, 12, 12.5, 15, 20, 30, 29.97, 60])
@pytest.mark.parametrize(("lost", "jitter"), [(0.0, 0.0), (0.05, 0.0), (0.2, 0.02), (0.03, 0.15)])
def test_clocked_cameras_of_any_rate(rate: float, lost: float, jitter: float) -> None:
    assert nominal_rate(steps(clocked(rate, 600), lost, jitter)) == (30 if rate == 29.97 else rate)


@pytest.mark.parametrize("frames", [5, 8, 20])
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_short_drive_is_12_hz(phase: int, frames: int) -> None:
    assert nominal_rate(np.diff(fired(frames, phase))) == 12.0


@pytest.mark.parametrize(
    ("rate", "step_s", "gap", "missing"),
    [
        (12, 0.0498, False, 0),
        (12, 0.1023, False, 0),
        (12, 0.1493, True, 1),
        (12, 0.2, True, 1),
        (12, 0.25, True, 2),
        (12, 0.0, True, 0),
        (12, -0.05, True, 0),
        (10, 0.14, False, 0),
        (10, 0.2, True, 1),
        (20, 0.1, True, 1),
        (30, 0.0667, True, 1),
    ],
)
def test_what_is_a_gap(rate: float, step_s: float, gap: bool, missing: int) -> None:
    assert bool(is_gap(np.array([step_s]), rate)[0]) == gap
    assert missing_frames(step_s, rate) == missing


def test_time_that_does_not_pass_and_rates_that_no_camera_has() -> None:
    assert nominal_rate(np.zeros(9)) == 0.0
    assert check_rate(12.0, "drive", "remedy") == 12.0
    for rate in (12048.2, 0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="^drive: .*frames per second.*; give microseconds$"):
            check_rate(rate, "drive", "give microseconds")
