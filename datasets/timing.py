"""When cameras fire, and what follows: the nominal rate, and which step between two frames is a gap.

nuScenes' cameras are fired by the lidar. It turns 20 times a second, and a camera takes a picture when the beam passes
its centre, in three turns out of five: frames are 50, 100, 100 ms apart, over and over, 83.3 ms in the mean, nominally
12 Hz. Each camera has its own phase of the turn. Now and then a frame is missing; then the two around it are 150 ms
apart or more. The published time stamps of mini_val have 49.8 to 53.1, 96.9 to 102.3, and from 149.3 ms on.

One rule holds for such cameras and for clocked ones of any rate: a step that is more than half a frame time away from
the nominal one is a gap. At 12 Hz that is more than 125 ms, two and a half turns; at 10 Hz it is more than 150 ms.
"""

import numpy as np
from jaxtyping import Bool, Float64

NOMINAL_RATE = 12.0
"""Frames per second of nuScenes' cameras in the mean; what is printed and what networks are told."""
LIDAR_TURN_S = 0.05
STEP_TURNS = (1, 2, 2)
"""Lidar turns from one frame of a camera to the next, over and over."""
MAX_GAP = 0.5
"""The part of the nominal frame time by which a step may differ from it."""
USUAL_RATES = (0.5, 1, 2, 3, 4, 5, 6, 7.5, 8, 10, 12, 15, 16, 18, 20, 24, 25, 30, 36, 40, 45, 50, 60, 90, 100, 120, 240)
USUAL_WITHIN = 0.03


def is_gap(steps_s: Float64[np.ndarray, "*R"], rate: float, max_gap: float = MAX_GAP) -> Bool[np.ndarray, "*R"]:
    """Whether something is wrong between two frames: one is missing, or time stands still or runs backwards.

    Args:
        steps_s: seconds between consecutive frames of one camera. rate: nominal frames per second.
        max_gap: the part of the frame time by which a step may differ from it.
    """
    return np.abs(steps_s * rate - 1) > max_gap


def missing_frames(step_s: float, rate: float) -> int:
    """How many frames are missing in a gap of this many seconds; 0 where time stands still or runs backwards."""
    return max(0, round(step_s * rate) - 1)


def mean_step(steps_s: Float64[np.ndarray, "R"]) -> float:
    """Seconds from one frame to the next: the mean of the steps without gaps; 0.0 if none is above 0.

    Not their median, which is 100 ms on nuScenes. The search for gaps begins with the short steps, as missing frames
    only make steps longer: at first, what is up to twice the shortest tenth.
    """
    rising = steps_s[steps_s > 0]
    if not len(rising):
        return 0.0
    kept = rising[rising <= 2.2 * np.quantile(rising, 0.1, method="lower")]
    for _ in range(20):  # settles in two or three rounds
        mean, before = float(kept.mean()), len(kept)
        kept = rising[~is_gap(rising, 1 / mean)]
        if len(kept) in (0, before):
            break
    return mean


def nominal_rate(steps_s: Float64[np.ndarray, "R"]) -> float:
    """Frames per second from the steps between consecutive frames: 1 / `mean_step`, snapped to a usual rate.

    What is within 3 % of a usual rate is that rate (12 and not 11.97); a few steps may be further off, by what begins
    or ends in the middle of a pattern. 0.0 if no step is above 0.
    """
    mean = mean_step(steps_s)
    if not mean:
        return 0.0
    rate = 1 / mean
    usual = min(USUAL_RATES, key=lambda known: abs(np.log(known / rate)))
    near = abs(rate / usual - 1) <= USUAL_WITHIN + 0.4 / len(steps_s)
    return float(usual) if near else float(f"{rate:.3g}")
