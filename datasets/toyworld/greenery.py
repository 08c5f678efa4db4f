"""Trees and hedges."""

import numpy as np

from worldmodel.datasets.toyworld.ground import Ground
from worldmodel.datasets.toyworld.mesh import SPHERE, Skin, Stage
from worldmodel.datasets.toyworld.roads import shadow_disc


def tree(stage: Stage, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """A trunk with a crown of one or two bumpy balls, and its shadow."""
    trunk = height * rng.uniform(0.28, 0.4)
    crown = height * rng.uniform(0.26, 0.36)
    stage.tube((x, y), 0.0, trunk + crown * 0.5, 0.1 + 0.016 * height, np.array([0.36, 0.27, 0.19]))
    tone = np.clip(
        np.ones(3) * rng.uniform(0.75, 1.0) * np.array([rng.uniform(0.8, 1.0), 1.0, rng.uniform(0.7, 1.0)]), 0, 1
    )
    for part in range(int(rng.integers(1, 3))):
        bumps = 1 + 0.12 * rng.standard_normal(len(SPHERE[0]))
        bumps = _closed(bumps)
        offset = np.array([rng.uniform(-0.35, 0.35) * crown, rng.uniform(-0.35, 0.35) * crown, part * crown * 0.7])
        radii = crown * (1 - 0.25 * part) * np.array([1.0, 1.0, rng.uniform(0.95, 1.3)])
        stage.blob(np.array([x, y, trunk + crown * 0.85]) + offset, radii, Skin(tone, "leaf", 2.0), bumps)
    shadow_disc(stage, x, y, crown * 1.05, 0.4)


def hedge(
    stage: Stage, rng: np.random.Generator, frame: tuple[float, float, float], plot: float, ground: Ground
) -> None:
    """A clipped hedge between a plot and the pavement, in the middle of whose front `frame` = (x, y, yaw) is."""
    if rng.random() < 0.5 or not ground.claim(frame, plot * 0.9, 0.8):
        return
    size = (plot * 0.85, 0.9, rng.uniform(0.8, 1.5))
    stage.box(frame, size, 0.0, Skin(np.ones(3), "hedge", 3.0), lid=np.array([0.3, 0.42, 0.2]))


def wild_trees(stage: Stage, rng: np.random.Generator, ground: Ground, low: np.ndarray, high: np.ndarray) -> None:
    """Trees scattered over the fields, thinner on large scenes so that the count stays bounded."""
    for _ in range(240):
        x, y = rng.uniform(low - 50, high + 50)
        if ground.claim((float(x), float(y), 0.0), 4.0, 4.0):
            tree(stage, rng, float(x), float(y), rng.uniform(5, 11))


def _closed(bumps: np.ndarray) -> np.ndarray:
    """The seam and the poles of the sphere share one value each, or the ball would show cracks."""
    grid = bumps.reshape(6, 9).copy()
    grid[:, -1] = grid[:, 0]
    grid[0], grid[-1] = grid[0, 0], grid[-1, 0]
    return np.ravel(grid)
