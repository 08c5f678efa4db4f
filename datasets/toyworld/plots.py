"""Rows of plots along the roads: city houses with shops, family houses, halls, parks."""

import numpy as np

from worldmodel.datasets.toyworld.greenery import hedge, tree
from worldmodel.datasets.toyworld.ground import Ground
from worldmodel.datasets.toyworld.mesh import Skin, Stage, footprint
from worldmodel.datasets.toyworld.palette import FACADES, ROOFS, SIGNS, WALLS
from worldmodel.datasets.toyworld.script import Road, SceneScript

Frame = tuple[float, float, float]


def line_road(
    stage: Stage, rng: np.random.Generator, script: SceneScript, road: Road, side: float, ground: Ground
) -> None:
    """A row of plots along one side of a road."""
    district = script.district if rng.random() < 0.75 else str(rng.choice(["city", "suburb", "park", "works"]))
    setback = {"city": 1.5, "suburb": 6.0, "park": 5.0, "works": 8.0}[district] + rng.uniform(0, 2.5)
    s, end = road.line.span[0] + 4, road.line.span[1] - 4
    while s < end:
        plot = {"city": rng.uniform(12, 26), "suburb": rng.uniform(9, 14), "park": 9.0, "works": rng.uniform(22, 42)}[
            district
        ]
        deep = {"city": rng.uniform(11, 16), "suburb": rng.uniform(8, 11), "park": 5.0, "works": rng.uniform(16, 26)}[
            district
        ]
        front = road.half_width + road.pavement + setback
        x, y, yaw = (float(v[0]) for v in road.line.pose(np.array([s + plot / 2]), side * (front + deep / 2)))
        frame = (x, y, yaw)
        if district == "park" or rng.random() < 0.08:
            for _ in range(int(rng.integers(1, 3))):
                tx, ty, _ = (
                    float(v[0])
                    for v in road.line.pose(np.array([s + rng.uniform(0, plot)]), side * (front + rng.uniform(-2, 14)))
                )
                if ground.claim((tx, ty, 0.0), 1.5, 1.5):
                    tree(stage, rng, tx, ty, rng.uniform(4.5, 9.5))
        elif ground.claim(frame, plot, deep):
            {"city": _block, "suburb": _house, "works": _hall}[district](stage, rng, frame, plot, deep, side)
        if district == "suburb":
            left = side * (road.half_width + road.pavement + 1.2)
            x, y, yaw = (float(v[0]) for v in road.line.pose(np.array([s + plot / 2]), left))
            hedge(stage, rng, (x, y, yaw), plot, ground)
        s += plot + rng.choice([0.3, 0.3, 4.0, 7.0] if district == "city" else [3.0, 5.0, 8.0])


def _block(stage: Stage, rng: np.random.Generator, frame: Frame, plot: float, deep: float, side: float) -> None:
    """A city house: shop floor, storeys with windows, cornice."""
    storeys = int(rng.integers(2, 7))
    wall = f"facade{rng.integers(FACADES)}"
    tone = np.ones(3) * rng.uniform(0.8, 1.0)
    height = storeys * 3.0
    base = 0.0
    if rng.random() < 0.6:
        stage.box(frame, (plot, deep, 3.4), 0.0, WALLS[rng.integers(len(WALLS))] * 0.7, lid=False)
        _shop_fronts(stage, rng, frame, plot, deep, side)
        base = 3.4
    stage.box(frame, (plot, deep, height), base, Skin(tone, wall, 12.0), lid=False)
    stage.box(frame, (plot + 0.7, deep + 0.7, 0.7), base + height, WALLS[rng.integers(len(WALLS))] * 0.8)
    if rng.random() < 0.4:
        size = (plot, deep, rng.uniform(2, 4))
        _gable(stage, frame, size, base + height + 0.7, ROOFS[rng.integers(len(ROOFS))], tone * 0.6)


def _shop_fronts(stage: Stage, rng: np.random.Generator, frame: Frame, plot: float, deep: float, side: float) -> None:
    """Glass and coloured awnings on the wall that faces the road."""
    x, y, yaw = frame
    count = max(1, int(plot / rng.uniform(4.5, 7)))
    for i in range(count):
        along = (i + 0.5) / count * plot - plot / 2
        for out, size, base, colour in (
            (0.04, (plot / count * 0.8, 0.1, 2.2), 0.4, np.array([0.22, 0.27, 0.32]) * rng.uniform(0.7, 1.7)),
            (0.3, (plot / count * 0.88, 0.7, 0.55), 2.7, SIGNS[rng.integers(len(SIGNS))] * 0.95),
        ):
            across = -side * (deep / 2 + out)
            place = (
                x + np.cos(yaw) * along - np.sin(yaw) * across,
                y + np.sin(yaw) * along + np.cos(yaw) * across,
                yaw,
            )
            stage.box(place, size, base, colour)


def _gable(
    stage: Stage, frame: Frame, size: tuple[float, float, float], base: float, roof: np.ndarray, wall: np.ndarray
) -> None:
    """A pitched roof with its ridge along the length; `size` = (length, width, rise)."""
    length, width, rise = size
    corners = footprint(frame, length + 0.6, width + 0.6)
    a, b, c, d = (np.array([*corner, base]) for corner in corners)
    ridge_front, ridge_back = (a + b) / 2 + [0, 0, rise], (c + d) / 2 + [0, 0, rise]
    stage.polygon(np.array([b, c, ridge_back, ridge_front]), roof)
    stage.polygon(np.array([d, a, ridge_front, ridge_back]), roof)
    stage.polygon(np.array([a, b, ridge_front]), wall)
    stage.polygon(np.array([c, d, ridge_back]), wall)


def _house(stage: Stage, rng: np.random.Generator, frame: Frame, plot: float, deep: float, side: float) -> None:
    """A family house with a pitched roof."""
    storeys = int(rng.integers(1, 3))
    roof, wall = ROOFS[rng.integers(len(ROOFS))], np.ones(3) * rng.uniform(0.85, 1.0)
    walls = Skin(wall, f"facade{rng.integers(FACADES)}", 12.0)
    stage.box(frame, (plot, deep, storeys * 3.0), 0.0, walls, lid=False)
    _gable(stage, frame, (plot, deep, rng.uniform(2.2, 3.6)), storeys * 3.0, roof, wall * 0.75)
    if rng.random() < 0.5:
        x, y, yaw = frame
        stage.box(
            (x + np.cos(yaw) * plot * 0.25, y + np.sin(yaw) * plot * 0.25, yaw),
            (0.9, 0.9, 2.0),
            storeys * 3.0 + 1.6,
            roof * 0.8,
        )


def _hall(stage: Stage, rng: np.random.Generator, frame: Frame, plot: float, deep: float, side: float) -> None:
    """An industrial hall with a coloured band below its roof."""
    height = rng.uniform(5, 10)
    walls = Skin(np.ones(3), f"hall{rng.integers(2)}", 12.0)
    stage.box(frame, (plot, deep, height), 0.0, walls, lid=np.full(3, 0.5))
    stage.box(frame, (plot + 0.2, deep + 0.2, 0.9), height - 0.9, SIGNS[rng.integers(len(SIGNS))] * 0.85)
