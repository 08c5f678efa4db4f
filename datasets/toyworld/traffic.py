"""Who else is on the road: moving cars of the main road, parked cars, cars that wait at a crossing."""

import numpy as np

from worldmodel.datasets.toyworld.lines import Motion, drive
from worldmodel.datasets.toyworld.script import Road, Vehicle


def main_road_traffic(
    rng: np.random.Generator, kind: str, main: Road, time: np.ndarray, progress: np.ndarray, seconds: float
) -> tuple[np.ndarray, list[Vehicle]]:
    """The ego vehicle's lane offset over time, and the moving cars of the main road."""
    cars: list[Vehicle] = []
    outer = main.lanes - 1
    ego_lane = np.full_like(time, main.lane(outer))

    def ahead(shift_s: float, gap: float) -> np.ndarray:
        along: np.ndarray = np.interp(time + shift_s, time, progress) + gap
        return along

    def add(s: np.ndarray, left: np.ndarray | float, reverse: bool = False) -> None:
        low, high = main.line.span
        cars.append(new_vehicle(rng, drive(main.line, time, np.clip(s, low + 1, high - 1), left, reverse)))

    follower, lead = rng.random() < 0.6, rng.random() < (0.95 if kind == "stop_and_go" else 0.6)
    if kind == "overtaking":
        style = rng.integers(3)
        cruise = float(np.interp(seconds, time, progress)) / seconds
        if style == 0:  # faster cars pass on the left
            for start in -np.cumsum(rng.uniform(13, 24, size=3)) + 8:
                add(start + (cruise + rng.uniform(2.8, 3.2)) * time, main.lane(0))
        elif style == 1:  # the ego vehicle passes slower cars on its right
            ego_lane = np.full_like(time, main.lane(0))
            slower = cruise - rng.uniform(3.0, 4.0)
            for start in np.cumsum(rng.uniform(13, 24, size=4)) - 4:
                add(start + slower * time, main.lane(1))
        else:  # the ego vehicle changes lane and passes
            begin = rng.uniform(0.08, 0.25) * seconds
            blend = np.clip((time - begin) / 3.2, 0, 1)
            blend = blend**3 * (10 - 15 * blend + 6 * blend**2)
            ego_lane = main.lane(1) + (main.lane(0) - main.lane(1)) * blend
            slower = cruise - rng.uniform(2.5, 3.2)
            for start in np.cumsum(rng.uniform(14, 22, size=3)) + 8:
                add(start + slower * time, main.lane(1))
    elif main.lanes == 2 and rng.random() < 0.7:
        for start in np.cumsum(rng.uniform(16, 45, size=4)) - 60:
            add(start + progress * rng.uniform(0.98, 1.02), main.lane(0))
    if lead and kind != "overtaking":
        add(ahead(rng.uniform(0.5, 0.9), rng.uniform(12.0, 18.0)), ego_lane)
    if follower:
        add(ahead(-rng.uniform(0.5, 0.9), -rng.uniform(9.0, 15.0)), ego_lane)
    for lane in range(main.lanes):
        pace, start = rng.uniform(6, 10.5), rng.uniform(8, 30)
        for _ in range(int(rng.integers(3, 7))):
            add(start - pace * time, -main.lane(lane), reverse=True)
            start += rng.uniform(15, 48)
    return ego_lane, cars


def parked_cars(rng: np.random.Generator, road: Road, gaps: list[tuple[float, float]]) -> list[Vehicle]:
    """Parked cars along both kerbs of a road with parking strips, clear of the crossings."""
    if not road.parking:
        return []
    cars = []
    density = rng.uniform(0.35, 0.8)
    for side in (-1.0, 1.0):
        s = road.line.span[0] + 100.0
        while s < road.line.span[1] - 120.0:
            free = all(abs(s - at) > half + 8.0 for at, half in gaps)
            if free and rng.random() < density:
                x, y, yaw = road.line.pose(np.array([s]), side * (road.half_width - 1.15))
                cars.append(new_vehicle(rng, standing(x[0], y[0], yaw[0] + (np.pi if side > 0 else 0.0)), parked=True))
            s += rng.uniform(6.2, 9.0)
    return cars


def waiting_cars(rng: np.random.Generator, side_roads: list[Road]) -> list[Vehicle]:
    """Cars that stand before a crossing, on the right-hand side of their own road."""
    cars = []
    for road in side_roads:
        for towards in (1.0, -1.0):
            if rng.random() < 0.4:
                distance = rng.uniform(15.0, 18.0)
                x, y, yaw = road.line.pose(np.array([-towards * distance]), towards * road.lane(0))
                facing = yaw[0] + (0.0 if towards > 0 else np.pi)
                cars.append(new_vehicle(rng, standing(x[0], y[0], facing), short=True))
    return cars


def new_vehicle(rng: np.random.Generator, motion: Motion, parked: bool = False, short: bool = False) -> Vehicle:
    """A car of random body and colour; parked and short ones are no trucks or buses."""
    weights = [0.5, 0.34, 0.16, 0.0, 0.0] if parked or short else [0.45, 0.25, 0.12, 0.1, 0.08]
    body = str(rng.choice(["saloon", "estate", "van", "truck", "bus"], p=weights))
    return Vehicle(body, _colour(rng), motion, parked)


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    plain = [(0.86, 0.86, 0.87), (0.62, 0.64, 0.66), (0.2, 0.21, 0.23), (0.4, 0.42, 0.45)]
    bright = [
        (0.72, 0.12, 0.1),
        (0.12, 0.25, 0.62),
        (0.1, 0.42, 0.26),
        (0.85, 0.62, 0.12),
        (0.55, 0.3, 0.14),
        (0.2, 0.5, 0.66),
    ]
    pool = plain if rng.random() < 0.45 else bright
    base = np.array(pool[rng.integers(len(pool))]) * rng.uniform(0.88, 1.1)
    red, green, blue = (float(v) for v in np.clip(base, 0, 1))
    return red, green, blue


def standing(x: float, y: float, yaw: float) -> Motion:
    """The motion of something that does not move."""
    return Motion(np.array([0.0, 1.0]), np.full(2, x), np.full(2, y), np.full(2, yaw))
