"""What stands on the pavements: lamp posts, signs, street trees."""

import numpy as np

from worldmodel.datasets.toyworld.greenery import tree
from worldmodel.datasets.toyworld.mesh import Stage
from worldmodel.datasets.toyworld.palette import SIGNS
from worldmodel.datasets.toyworld.script import Road


def street_furniture(stage: Stage, rng: np.random.Generator, road: Road, roads: list[Road]) -> None:
    """Lamp posts, signs and street trees on the pavements, clear of other roads."""
    every, trees = rng.uniform(22, 34), rng.random() < 0.65
    lamp = np.array([0.34, 0.37, 0.38]) * rng.uniform(0.7, 1.5)
    for side in (1.0, -1.0):
        s = road.line.span[0] + rng.uniform(0, 10)
        while s < road.line.span[1]:
            x, y, yaw = (float(v[0]) for v in road.line.pose(np.array([s]), side * (road.half_width + 0.75)))
            if _off_road(x, y, road, roads):
                _lamp_post(stage, x, y, yaw, side, lamp)
                if rng.random() < 0.3:
                    _sign(stage, rng, x + np.cos(yaw) * 3, y + np.sin(yaw) * 3, yaw)
            if trees and rng.random() < 0.8:
                x, y, _ = (
                    float(v[0]) for v in road.line.pose(np.array([s + every / 2]), side * (road.half_width + 1.1))
                )
                if _off_road(x, y, road, roads):
                    tree(stage, rng, x, y, rng.uniform(4.5, 7.5))
            s += every


def _off_road(x: float, y: float, road: Road, roads: list[Road]) -> bool:
    for near in roads:
        distance = np.hypot(near.line.xy_M2[:, 0] - x, near.line.xy_M2[:, 1] - y).min()
        if distance < near.half_width + (2.0 if near is not road else 0.4):
            return False
    return True


def _lamp_post(stage: Stage, x: float, y: float, yaw: float, side: float, colour: np.ndarray) -> None:
    stage.tube((x, y), 0.0, 7.0, 0.1, colour)
    stage.tube((x, y), 0.0, 0.9, 0.17, colour * 0.8)
    arm = (x + np.sin(yaw) * side * 0.8, y - np.cos(yaw) * side * 0.8, yaw)
    stage.box(arm, (0.22, 1.9, 0.14), 6.95, colour)
    tip = (x + np.sin(yaw) * side * 1.6, y - np.cos(yaw) * side * 1.6, yaw)
    stage.box(tip, (0.34, 0.8, 0.16), 6.82, np.array([0.85, 0.85, 0.8]))


def _sign(stage: Stage, rng: np.random.Generator, x: float, y: float, yaw: float) -> None:
    stage.tube((x, y), 0.0, 2.2, 0.06, np.array([0.5, 0.5, 0.52]))
    stage.box((x, y, yaw), (0.1, 0.8, 0.8), 2.1, SIGNS[rng.integers(len(SIGNS))])
