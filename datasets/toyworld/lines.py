"""Lines on the ground that roads lie along and cars drive along.

Shape legend: M points of a polyline, K instants. Metres, radians, seconds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class RoadLine:
    """A smooth line on flat ground, sampled densely: arc length, position, heading (unwrapped)."""

    s_M: Float64[np.ndarray, "M"]
    xy_M2: Float64[np.ndarray, "M 2"]
    yaw_M: Float64[np.ndarray, "M"]

    @property
    def span(self) -> tuple[float, float]:
        """First and last arc length, metres."""
        return float(self.s_M[0]), float(self.s_M[-1])

    def pose(
        self, s_K: Float64[np.ndarray, "K"], left_K: Float64[np.ndarray, "K"] | float = 0.0
    ) -> tuple[Float64[np.ndarray, "K"], Float64[np.ndarray, "K"], Float64[np.ndarray, "K"]]:
        """x, y, heading at arc length `s_K`, displaced `left_K` metres to the left."""
        yaw = np.interp(s_K, self.s_M, self.yaw_M)
        x = np.interp(s_K, self.s_M, self.xy_M2[:, 0]) - np.sin(yaw) * left_K
        y = np.interp(s_K, self.s_M, self.xy_M2[:, 1]) + np.cos(yaw) * left_K
        return x, y, yaw

    def shifted(self, dx: float, dy: float) -> "RoadLine":
        """The same line, displaced."""
        return RoadLine(self.s_M, self.xy_M2 + np.array([dx, dy]), self.yaw_M)


def line_from_curvature(s_M: np.ndarray, curvature_M: np.ndarray, yaw_at_zero: float) -> RoadLine:
    """Integrates a curvature (1/metre) over arc length; s = 0 lies at the origin with heading `yaw_at_zero`."""
    step = np.diff(s_M, prepend=s_M[0])
    yaw = np.cumsum(curvature_M * step)
    yaw += yaw_at_zero - np.interp(0.0, s_M, yaw)
    middle = yaw - 0.5 * curvature_M * step
    xy = np.stack([np.cumsum(np.cos(middle) * step), np.cumsum(np.sin(middle) * step)], axis=1)
    origin = np.array([np.interp(0.0, s_M, xy[:, 0]), np.interp(0.0, s_M, xy[:, 1])])
    return RoadLine(s_M, xy - origin, yaw)


def straight_line(x: float, y: float, yaw: float, before: float, after: float) -> RoadLine:
    """A straight line through (x, y), from `before` metres behind it to `after` metres ahead."""
    s = np.linspace(-before, after, max(2, int(before + after) + 1))
    xy = np.array([x, y]) + s[:, None] * np.array([np.cos(yaw), np.sin(yaw)])
    return RoadLine(s, xy, np.full_like(s, yaw))


@dataclass(frozen=True)
class Motion:
    """Where something is over time: position and heading at K instants, linear in between."""

    time_K: Float64[np.ndarray, "K"]
    x_K: Float64[np.ndarray, "K"]
    y_K: Float64[np.ndarray, "K"]
    yaw_K: Float64[np.ndarray, "K"]

    def at(self, time_s: float) -> tuple[float, float, float]:
        """x, y, heading at one instant (held still before the first and after the last)."""
        return (
            float(np.interp(time_s, self.time_K, self.x_K)),
            float(np.interp(time_s, self.time_K, self.y_K)),
            float(np.interp(time_s, self.time_K, self.yaw_K)),
        )

    def speed(self, time_s: float) -> float:
        """Metres per second around an instant."""
        before, after = self.at(time_s - 0.05), self.at(time_s + 0.05)
        return float(np.hypot(after[0] - before[0], after[1] - before[1]) / 0.1)


def drive(
    line: RoadLine, time_K: np.ndarray, s_K: np.ndarray, left_K: np.ndarray | float, reverse: bool = False
) -> Motion:
    """The motion of a car at arc length s(t), `left_K` metres left of the line; `reverse` faces against it."""
    left = np.broadcast_to(np.asarray(left_K, dtype=np.float64), s_K.shape)
    x, y, yaw = line.pose(s_K, left)
    speed = np.maximum(np.abs(np.gradient(s_K, time_K)), 1.0)
    drift = np.arctan2(np.gradient(left, time_K), speed)
    yaw = yaw + np.pi - drift if reverse else yaw + drift
    return Motion(time_K, x, y, yaw)
