"""Everything flat: grass, pavements, kerbs, asphalt, markings, in the order in which it is painted.

The ground is a plane seen from above it, so layers are painted one over the other without a depth test; that is
exact and free of flicker. Crossings come out right because all asphalt is painted after all kerbs.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.datasets.toyworld.mesh import QUAD, Stage
from worldmodel.datasets.toyworld.script import Road, SceneScript

GRASS, PAVEMENT, KERB, ASPHALT, PATCH, MARKING, SHADOW = 0, 1, 2, 3, 4, 5, 8
METRES_PER_TILE = {"grass": 28.0, "pavement": 6.0, "asphalt": 18.0}


@dataclass(frozen=True)
class Paint:
    """What a band on the ground is made of, and in which layer it lies."""

    layer: int
    colour: np.ndarray
    texture: str = ""


def strip(stage: Stage, road: Road, s: np.ndarray, right: float, left: float, paint: Paint) -> None:
    """A band along a road between two offsets (left is positive), cut at arc lengths `s`."""
    up = np.array([0.0, 0.0, 1.0])
    rgba = stage.light.shade(np.asarray(paint.colour, dtype=np.float64), up)
    xr, yr, _ = road.line.pose(s, right)
    xl, yl, _ = road.line.pose(s, left)
    scale = METRES_PER_TILE.get(paint.texture, 1.0)
    for i in range(len(s) - 1):
        xyz = np.array([[xr[i], yr[i], 0], [xr[i + 1], yr[i + 1], 0], [xl[i + 1], yl[i + 1], 0], [xl[i], yl[i], 0]])
        stage.mesh(paint.layer, paint.texture, xyz).add(xyz, xyz[:, :2] / scale, rgba, QUAD)


def grass(stage: Stage, rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> None:
    """Fields of slightly different greens out to the horizon."""
    step, reach = 50.0, 450.0
    xs = np.arange(low[0] - reach, high[0] + reach + step, step)
    ys = np.arange(low[1] - reach, high[1] + reach + step, step)
    tone = 1 + 0.1 * rng.standard_normal((len(xs), len(ys), 1)) + 0.05 * rng.standard_normal((len(xs), len(ys), 3))
    rgba = stage.light.shade(np.clip(tone * 0.9, 0.5, 1.0), np.array([0.0, 0.0, 1.0]))
    for i in range(len(xs) - 1):
        for j in range(len(ys) - 1):
            corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            xyz = np.array([[xs[a], ys[b], 0.0] for a, b in corners])
            colours = np.array([rgba[a, b] for a, b in corners])
            stage.mesh(GRASS, "grass", xyz).add(xyz, xyz[:, :2] / METRES_PER_TILE["grass"], colours, QUAD)


def _cuts(road: Road) -> np.ndarray:
    """Arc lengths at which a road's bands are cut: dense where it bends."""
    low, high = road.line.span
    bends = np.abs(np.gradient(road.line.yaw_M, road.line.s_M)).max() > 1e-3
    return np.linspace(low, high, int((high - low) / (2.5 if bends else 10.0)) + 2)


def lay_roads(stage: Stage, rng: np.random.Generator, script: SceneScript) -> None:
    """Pavements, kerbs, asphalt, patches and markings of all roads of a scene."""
    white, untinted = np.array([0.93, 0.93, 0.9]), np.ones(3)
    for road in script.roads:
        cuts, half = _cuts(road), road.half_width
        strip(stage, road, cuts, -half - road.pavement, half + road.pavement, Paint(PAVEMENT, untinted, "pavement"))
        for side in (1.0, -1.0):
            right, left = sorted((side * half, side * (half + 0.28)))
            strip(stage, road, cuts, right, left, Paint(KERB, np.array([0.74, 0.73, 0.7])))
        strip(stage, road, cuts, -half, half, Paint(ASPHALT, untinted, "asphalt"))
    for index, road in enumerate(script.roads):
        others = [r for i, r in enumerate(script.roads) if i != index]
        _patches(stage, rng, road)
        _markings(stage, rng, road, others, white)


def _clear(road: Road, s: float, others: list[Road], margin: float) -> bool:
    """Whether a point of the centre line lies outside the asphalt of all other roads."""
    x, y, _ = road.line.pose(np.array([s]))
    for crossing in others:
        distance = np.hypot(crossing.line.xy_M2[:, 0] - x, crossing.line.xy_M2[:, 1] - y).min()
        if distance < crossing.half_width + margin:
            return False
    return True


def _patches(stage: Stage, rng: np.random.Generator, road: Road) -> None:
    """Repaired asphalt, darker or lighter, and manhole covers: they make motion visible on the road itself."""
    low, high = road.line.span
    s = low + rng.uniform(0, 10)
    while s < high - 8:
        lane = rng.uniform(-road.half_width + 0.6, road.half_width - 1.8)
        tone = rng.choice([0.62, 0.72, 1.3, 1.18])
        length, width = rng.uniform(1.0, 6.0), rng.uniform(0.7, 1.9)
        strip(stage, road, np.array([s, s + length]), lane, lane + width, Paint(PATCH, tone * ASPHALT_TONE))
        s += rng.uniform(4, 13)


ASPHALT_TONE = np.array([0.36, 0.36, 0.37])


def _markings(stage: Stage, rng: np.random.Generator, road: Road, others: list[Road], white: np.ndarray) -> None:
    low, high = road.line.span
    dash, gap = (3.0, 4.5) if road.lanes > 1 else (2.5, 3.5)
    yellow = np.array([0.9, 0.68, 0.16]) if rng.random() < 0.4 else white
    solid_centre = rng.random() < 0.35
    edge = rng.random() < 0.6
    s = low + 1.0
    while s < high - dash - gap:
        if _clear(road, s + 2, others, 5.0):
            full = np.array([s, s + (dash + gap) / 2, s + dash + gap])
            marks = np.array([s, s + dash])
            if road.lanes > 1 or solid_centre:
                strip(stage, road, full, -0.09, 0.09, Paint(MARKING, yellow))
            else:
                strip(stage, road, marks, -0.09, 0.09, Paint(MARKING, yellow))
            for lane in range(1, road.lanes):
                for side in (1.0, -1.0):
                    middle = side * lane * road.lane_width
                    strip(stage, road, marks, middle - 0.08, middle + 0.08, Paint(MARKING, white))
            if edge or road.parking:
                for side in (1.0, -1.0):
                    middle = side * (road.lanes * road.lane_width - (0.0 if road.parking else 0.25))
                    strip(stage, road, full, middle - 0.08, middle + 0.08, Paint(MARKING, white))
        s += dash + gap
    for crossed in others:
        _crossing(stage, rng, road, crossed, white)


def _crossing(stage: Stage, rng: np.random.Generator, road: Road, other: Road, white: np.ndarray) -> None:
    """A zebra and a stop line on both arms of `road` before it meets `other`."""
    distance = np.hypot(*(road.line.xy_M2[:, None] - other.line.xy_M2[None, ::2]).transpose(2, 0, 1)).min(axis=1)
    nearest = int(distance.argmin())
    if distance[nearest] > 2.0:
        return
    at = float(road.line.s_M[nearest])
    zebra = rng.random() < 0.7
    for side in (1.0, -1.0):
        edges = np.sort(at + side * (other.half_width + np.array([1.2, 4.0])))
        for left in np.arange(-road.half_width + 0.5, road.half_width - 0.5, 1.15) if zebra else ():
            strip(stage, road, edges, left, left + 0.55, Paint(MARKING, white))
        line = np.sort(at + side * (other.half_width + np.array([5.0, 5.45])))
        right, left = sorted((0.1 * side, side * road.lanes * road.lane_width))
        strip(stage, road, line, right, left, Paint(MARKING, white))


def shadow_disc(stage: Stage, x: float, y: float, radius: float, alpha: float) -> None:
    """A soft dark disc on the ground."""
    angle = np.arange(9) * 2 * np.pi / 9
    for grow, part in ((1.15, 0.5), (0.8, 0.5)):
        ring = np.column_stack([x + radius * grow * np.cos(angle), y + radius * grow * np.sin(angle), np.zeros(9)])
        stage.polygon(ring, np.array([0.0, 0.0, 0.0, alpha * part]), layer=SHADOW)
