"""The script of a junction at which the ego vehicle turns left or right."""

import numpy as np

from worldmodel.datasets.toyworld.lines import drive, line_from_curvature, straight_line
from worldmodel.datasets.toyworld.script import (
    LEAD_IN,
    LEAD_OUT,
    Road,
    SceneScript,
    Vehicle,
    pick_district,
    script_clock,
)
from worldmodel.datasets.toyworld.traffic import new_vehicle, standing


def turn_scene(rng: np.random.Generator, kind: str, seconds: float) -> SceneScript:
    """A junction of two roads; the ego vehicle turns left or right, with or without cars before and behind it."""
    side = rng.choice([-1.0, 1.0])
    width = rng.uniform(3.2, 3.7)
    radius = rng.uniform(12.5, 15.0) if side > 0 else rng.uniform(8.5, 10.5)
    begin = rng.uniform(14.0, 26.0)
    s = np.arange(-LEAD_IN, 130.0 + LEAD_OUT, 0.25)
    ramp = 4.0
    arc = np.pi / 2 * radius
    shape = np.clip((s - begin) / ramp, 0, 1) * np.clip((begin + arc + ramp - s) / ramp, 0, 1)
    curvature = side * shape * (np.pi / 2) / (shape.sum() * 0.25)
    line = line_from_curvature(s, curvature, rng.uniform(-np.pi, np.pi))
    cruise, slow = rng.uniform(6.5, 8.5), rng.uniform(0.28, 0.42)
    middle = begin + arc / 2
    time = script_clock(seconds)

    def progress_from(start: float) -> np.ndarray:
        s_now, progress = start, []
        for _ in time:
            progress.append(s_now)
            s_now += 0.02 * cruise * (1 - slow * np.exp(-(((s_now - middle) / 16.0) ** 2)))
        return np.array(progress)

    base = progress_from(-30.0)
    base = progress_from(-30.0 - float(np.interp(0.0, time, base)))
    roads = []
    for at in (begin - 12.0, begin + arc + ramp + 12.0):
        x, y, yaw = (float(v[0]) for v in line.pose(np.array([at]), width / 2))
        roads.append(Road(straight_line(x, y, yaw, 200.0, 200.0), 1, width, 0.0, rng.uniform(2.0, 4.0)))
    vehicles = []
    if rng.random() < 0.6:
        vehicles.append(new_vehicle(rng, drive(line, time, progress_from(base[0] + rng.uniform(13, 19)), 0.0)))
    if rng.random() < 0.6:
        vehicles.append(new_vehicle(rng, drive(line, time, progress_from(base[0] - rng.uniform(13, 19)), 0.0)))
    roads, junctions = _crossed(roads)
    vehicles += _junction_traffic(rng, roads, time)
    script = SceneScript("", "", kind, seconds, pick_district(rng), drive(line, time, base, 0.0), roads)
    script.junctions = junctions
    script.vehicles = vehicles
    script.palette_seed = int(rng.integers(2**31))
    return script


def _crossed(roads: list[Road]) -> tuple[list[Road], list[tuple[float, float]]]:
    """The same two straight roads with arc length 0 at their crossing, and the gap it makes in the first."""
    (p, a), (q, b) = ((r.line.xy_M2[0], np.array([np.cos(r.line.yaw_M[0]), np.sin(r.line.yaw_M[0])])) for r in roads)
    along = np.linalg.solve(np.stack([a, -b], axis=1), q - p)[0]
    x, y = p + along * a
    moved = [
        Road(straight_line(x, y, float(r.line.yaw_M[0]), 220.0, 220.0), r.lanes, r.lane_width, r.parking, r.pavement)
        for r in roads
    ]
    return moved, [(0.0, moved[1].half_width)]


def _junction_traffic(rng: np.random.Generator, roads: list[Road], time: np.ndarray) -> list[Vehicle]:
    """Cars that drive away from the junction or stand before it; none crosses the ego vehicle's way."""
    cars = []
    first, second = roads
    for road, towards, kinds in (
        (first, -1.0, "wait"),
        (second, 1.0, "wait"),
        (second, -1.0, "wait"),
        (first, 1.0, "leave"),
    ):
        lane = towards * road.lane(0)
        if kinds == "wait":
            distances = 13.0 + np.cumsum(rng.uniform(7.5, 11.0, size=int(rng.integers(0, 3))))
            for distance in distances:
                x, y, yaw = road.line.pose(np.array([-towards * distance]), lane)
                facing = yaw[0] + (0.0 if towards > 0 else np.pi)
                cars.append(new_vehicle(rng, standing(x[0], y[0], facing), short=True))
        else:
            pace = rng.uniform(5.0, 9.0)
            start = rng.uniform(14.0, 30.0) + np.maximum(0.0, pace * time)
            cars.append(
                new_vehicle(rng, drive(road.line, time, np.clip(towards * start, -215, 215), lane, towards < 0))
            )
    return cars
