"""Windows of tracks: never across a gap, `stride` apart, and of several cameras only where all are in step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from worldmodel.datasets.timing import is_gap
from worldmodel.datasets.track import Track, windows_in
from worldmodel.datasets.windows import WindowRule, longest_window, windows

RATE = 12.0
LIDAR_STEPS_S = (0.05, 0.1, 0.1)  # of a camera that the lidar fires


@dataclass(frozen=True, eq=False)
class Times(Track):
    """A track of numbered pictures, for its times alone."""

    camera: str
    times_s: np.ndarray
    joined: np.ndarray

    def read(self, frames: Sequence[int], size: tuple[int, int], resample: str = "area") -> np.ndarray:
        return np.stack([np.full((3, *size), frame, dtype=np.uint8) for frame in frames])


def fired(camera: str, frames: int, missing: tuple[int, ...] = (), phase_s: float = 0.0) -> Times:
    steps_s = np.resize(LIDAR_STEPS_S, frames - 1) + 0.002 * np.sin(np.arange(frames - 1))
    times_s = np.delete(phase_s + np.concatenate([[0.0], np.cumsum(steps_s)]), missing)
    return Times(camera, times_s, ~is_gap(np.diff(times_s), RATE))


def test_windows_never_hold_a_gap() -> None:
    track = fired("front", 40, missing=(9, 10, 25))
    assert [(run.start, run.stop) for run in track.runs()] == [(0, 9), (9, 23), (23, 37)]
    starts = track.windows(6, stride=4)
    assert starts == [0, 9, 13, 17, 23, 27, 31]
    assert all(any(start in run and start + 5 in run for run in track.runs()) for start in starts)
    assert track.windows(15) == [] and track.windows(50) == []
    assert track.has_run(np.array([-1, 3, 4, 9, 32]), 6).tolist() == [False, True, False, True, False]


def test_of_a_run_without_gaps_windows_are_a_plain_range() -> None:
    track = fired("front", 20)
    assert track.windows(5, 3) == list(windows_in(range(20), 5, 3)) == [0, 3, 6, 9, 12, 15]


def test_cameras_of_their_own_phase_are_in_step() -> None:
    lead, late = fired("front", 40), fired("back", 40, phase_s=0.035)
    cut = windows([lead, late], WindowRule(10, 10, RATE))
    assert cut.starts_WN.tolist() == [[0, 0], [10, 10], [20, 20], [30, 30]] and cut.out_of_step == {"back": 0}


def test_a_frame_that_one_camera_misses_shifts_or_ends_its_windows() -> None:
    lead, gappy = fired("front", 40), fired("back", 40, missing=(15,), phase_s=0.01)
    cut = windows([lead, gappy], WindowRule(10, 1, RATE))
    first = cut.starts_WN[:, 0].tolist()
    assert first == [*range(6), *range(16, 31)] and cut.out_of_step == {"back": 10}
    for start, matched in cut.starts_WN.tolist():
        apart_s = np.abs(lead.times_s[start : start + 10] - gappy.times_s[matched : matched + 10])
        assert apart_s.max() < 0.02
    rule = WindowRule(3, 1, RATE)
    assert longest_window([lead, gappy], 2, 3, 30, rule) == 13
    assert longest_window([lead, gappy], 16, 3, 30, rule) == 24
    assert longest_window([lead, gappy], 16, 3, 12, rule) == 12


def test_a_camera_shorter_than_a_window_gives_none() -> None:
    assert windows([fired("front", 30), fired("back", 8)], WindowRule(9, 1, RATE)).starts_WN.shape == (0, 2)


@pytest.mark.parametrize("wanted_s", [0.0, 0.07, 1.2])
def test_the_nearest_frame(wanted_s: float) -> None:
    track = fired("front", 30)
    assert track.nearest(np.array([wanted_s])).tolist() == [int(np.abs(track.times_s - wanted_s).argmin())]
    assert track.step_s == pytest.approx(1 / RATE, rel=0.02)
