"""Frames by time. A runtime without torch and a machine without PyAV ask here as well, so only numpy is imported."""

import numpy as np


def nearest(own_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Numbers of the frames at `own_s` that are nearest to the wanted times, int64; ties go to the earlier."""
    if len(own_s) == 1:
        return np.zeros(len(wanted_s), np.int64)
    right = np.clip(np.searchsorted(own_s, wanted_s), 1, len(own_s) - 1)
    left = right - 1
    return np.where(wanted_s - own_s[left] <= own_s[right] - wanted_s, left, right)
