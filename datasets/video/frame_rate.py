"""Which frame rates a camera may have, whatever says the rate: nuScenes tables, a video, a folder of images.

The runtime without torch asks here as well, so nothing else is imported.
"""

from worldmodel.errors import InputError

LOWEST_RATE, HIGHEST_RATE = 0.25, 240.0
"""Frames per second that a vehicle's camera may have. The range is narrower than a factor of 1000: one unit fits it."""
VIDEO_RATES = 0.1, 1000.0
"""The same of a video, which may be a time-lapse or a high-speed recording; its container says the unit."""


def check_rate(
    rate: float, source: str, remedy: str, limits: tuple[float, float] = (LOWEST_RATE, HIGHEST_RATE)
) -> float:
    """The rate, if a camera may have it.

    Raises:
        InputError: it is outside `limits`, by default 0.25 to 240 frames per second, or no number.
    """
    if limits[0] <= rate <= limits[1]:
        return rate
    raise InputError(
        f"{source}: {rate:g} frames per second, where a camera has {limits[0]:g} to {limits[1]:g}; {remedy}"
    )
