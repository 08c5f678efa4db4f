"""Which ground is taken by roads and buildings."""

import numpy as np

from worldmodel.datasets.toyworld.script import Road


class Ground:
    """Which half metres of ground are taken by roads or buildings."""

    CELL = 0.5

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low = low
        self.taken = np.zeros(tuple(((high - low) / self.CELL).astype(int) + 1), dtype=bool)

    def cover(self, road: Road, margin: float) -> None:
        """Takes the road's width plus a margin."""
        s = np.arange(road.line.span[0], road.line.span[1], 0.4)
        for left in np.arange(-road.half_width - margin, road.half_width + margin + 0.01, 0.4):
            x, y, _ = road.line.pose(s, float(left))
            i, j = self._cells(np.column_stack([x, y]))
            self.taken[i, j] = True

    def _cells(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = ((xy - self.low) / self.CELL).astype(int)
        return np.clip(cells[:, 0], 0, self.taken.shape[0] - 1), np.clip(cells[:, 1], 0, self.taken.shape[1] - 1)

    def claim(self, frame: tuple[float, float, float], length: float, width: float) -> bool:
        """Takes a rectangle if it is wholly free."""
        a, b = np.meshgrid(np.linspace(-0.5, 0.5, int(length / 0.6) + 2), np.linspace(-0.5, 0.5, int(width / 0.6) + 2))
        x, y, yaw = frame
        along, across = a.ravel() * length, b.ravel() * width
        xy = np.column_stack(
            [x + np.cos(yaw) * along - np.sin(yaw) * across, y + np.sin(yaw) * along + np.cos(yaw) * across]
        )
        i, j = self._cells(xy)
        if self.taken[i, j].any():
            return False
        self.taken[i, j] = True
        return True
