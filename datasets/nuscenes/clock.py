"""Capture times of any writer as whole microseconds, where the unit is beyond doubt.

nuScenes writes whole microseconds since 1970. Read as well: microseconds as floats (Lyft Level 5), nanoseconds, and
seconds as floats. What decides is the frame rate: cameras have 0.25 to 240 frames per second, and units are a factor
of 1000 apart, so one unit fits at most. Milliseconds are refused by name: they are too coarse to tell a gap.
"""

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from worldmodel.datasets.timing import nominal_rate
from worldmodel.datasets.video.frame_rate import HIGHEST_RATE, LOWEST_RATE

UNITS_US = {"microseconds": 1.0, "nanoseconds": 1e-3, "seconds": 1e6, "milliseconds": 1e3}
EPOCH_US = 1e15, 4.2e15
"""Microseconds since 1970 of the years 2001 to 2103."""


def time_unit(times_R: Shaped[np.ndarray, "R"], steps_K: Float64[np.ndarray, "K"]) -> str:
    """The unit of time stamps: microseconds, unless another one alone makes a camera of these steps.

    Args:
        times_R: time stamps as written. steps_K: differences between consecutive frames of cameras.
    """
    rate = nominal_rate(steps_K) * 1e6  # as if they were microseconds
    by_size = _unit_by_size(times_R)
    for unit in dict.fromkeys([by_size, "microseconds"]) if by_size else UNITS_US:
        if LOWEST_RATE <= rate / UNITS_US[unit] <= HIGHEST_RATE:
            return unit
    return "microseconds" if rate else by_size or "microseconds"


def unit_like(times_R: Shaped[np.ndarray, "R"], median_us: float) -> str:
    """The unit in which another table's times lie nearest to a median in microseconds."""
    median = float(np.median(times_R)) if len(times_R) else 0.0
    if median <= 0 or median_us <= 0:
        return "microseconds"
    return min(UNITS_US, key=lambda unit: abs(np.log(median * UNITS_US[unit] / median_us)))


def as_microseconds(times_R: Shaped[np.ndarray, "R"], unit: str) -> Int64[np.ndarray, "R"]:
    """Time stamps in whole microseconds, rounded."""
    if np.issubdtype(times_R.dtype, np.integer):
        return (times_R + 500) // 1000 if unit == "nanoseconds" else times_R * int(UNITS_US[unit])
    return np.rint(times_R * UNITS_US[unit]).astype(np.int64)


def _unit_by_size(times_R: Shaped[np.ndarray, "R"]) -> str | None:
    """The unit that puts the times into this century, if one does."""
    median = float(np.median(times_R)) if len(times_R) else 0.0
    return next((u for u, f in UNITS_US.items() if EPOCH_US[0] <= median * f <= EPOCH_US[1]), None)
