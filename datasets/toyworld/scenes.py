"""Seeded scene scripts: which roads there are and how the ego vehicle drives on them."""

import numpy as np

from worldmodel.datasets.toyworld.junction import turn_scene
from worldmodel.datasets.toyworld.lines import Motion, drive, line_from_curvature, straight_line
from worldmodel.datasets.toyworld.script import (
    LEAD_IN,
    LEAD_OUT,
    Road,
    SceneScript,
    Vehicle,
    pick_district,
    script_clock,
)
from worldmodel.datasets.toyworld.traffic import main_road_traffic, parked_cars, waiting_cars

KINDS = ("straight", "curve", "turn", "stop_and_go", "overtaking")


def scene_script(seed: int, split: str, index: int, name: str, seconds: float) -> SceneScript:
    """The script of scene `index` of a split; depends on these arguments only.

    Kinds follow each other in the order of `KINDS`.
    """
    rng = np.random.default_rng([seed, {"train": 0, "val": 1}[split], index])
    kind = KINDS[index % len(KINDS)]
    builder = turn_scene if kind == "turn" else _main_road_scene
    script = builder(rng, kind, seconds)
    script.name, script.split = name, split
    return _moved_to_positive(script)


def _ego_progress(rng: np.random.Generator, kind: str, time: np.ndarray, seconds: float) -> np.ndarray:
    """Arc length over time, s(0) = 0; speed varies smoothly."""
    cruise = rng.uniform(6.0, 11.0) if kind != "stop_and_go" else rng.uniform(6.5, 9.0)
    speed = cruise * (1 + 0.08 * np.sin(2 * np.pi * time / rng.uniform(7, 12) + rng.uniform(0, 6.28)))
    if kind == "stop_and_go":
        lowest = rng.choice([0.0, 0.0, 0.25])
        middle, half = rng.uniform(0.35, 0.55) * max(seconds, 6.0), rng.uniform(1.8, 2.6)
        dip = np.clip((np.abs(time - middle) - 0.5) / half, 0, 1)
        speed = speed * (lowest + (1 - lowest) * (3 * dip**2 - 2 * dip**3))
    return _integrated(time, speed)


def _integrated(time: np.ndarray, speed: np.ndarray) -> np.ndarray:
    progress = np.cumsum(speed) * (time[1] - time[0])
    since_start: np.ndarray = progress - np.interp(0.0, time, progress)
    return since_start


def _main_road_scene(rng: np.random.Generator, kind: str, seconds: float) -> SceneScript:
    time = script_clock(seconds)
    progress = _ego_progress(rng, kind, time, seconds)
    length = float(np.interp(seconds, time, progress))
    s = np.arange(-LEAD_IN, length + LEAD_OUT, 0.5)
    line = line_from_curvature(s, _curvature(rng, kind, s, length), rng.uniform(-np.pi, np.pi))
    lanes = 2 if kind == "overtaking" else int(rng.choice([1, 1, 2]))
    parking = float(rng.choice([0.0, 2.3, 2.3]))
    main = Road(line, lanes, rng.uniform(3.2, 3.8), parking, rng.uniform(2.0, 4.5))
    side_roads, junctions = _side_roads(rng, main, length)
    ego_lane, traffic = main_road_traffic(rng, kind, main, time, progress, seconds)
    script = SceneScript(
        "", "", kind, seconds, pick_district(rng), drive(line, time, progress, ego_lane), [main, *side_roads]
    )
    script.junctions = junctions
    script.vehicles = traffic + parked_cars(rng, main, junctions) + waiting_cars(rng, side_roads)
    script.palette_seed = int(rng.integers(2**31))
    return script


def _curvature(rng: np.random.Generator, kind: str, s: np.ndarray, length: float) -> np.ndarray:
    """Curvature over the road, 1/metre: long gentle waves, or bends that add up to less than half a turn."""
    if kind != "curve":
        wave = np.sin(2 * np.pi * s / rng.uniform(180, 300) + rng.uniform(0, 6.28))
        gentle: np.ndarray = 0.0012 * wave * rng.choice([0.0, 1.0])
        return gentle
    curvature = np.zeros_like(s)
    sign = rng.choice([-1.0, 1.0])
    centre = rng.uniform(0.2, 0.45) * max(length, 60.0)
    for turn in (sign, -sign):
        angle, width = rng.uniform(0.7, 1.2), rng.uniform(22.0, 34.0)
        curvature += turn * angle / (width * np.sqrt(np.pi)) * np.exp(-(((s - centre) / width) ** 2))
        centre += rng.uniform(75, 105)
    return curvature


def _side_roads(rng: np.random.Generator, main: Road, length: float) -> tuple[list[Road], list[tuple[float, float]]]:
    """Straight roads that cross the main road, and (arc length, half width) of the gaps they make in it."""
    roads, gaps = [], []
    s = rng.uniform(-90.0, -40.0)
    while s < length + 150.0:
        x, y, yaw = (float(v[0]) for v in main.line.pose(np.array([s])))
        road = Road(straight_line(x, y, yaw + np.pi / 2, 130.0, 130.0), 1, rng.uniform(3.0, 3.5), 0.0, main.pavement)
        far = np.abs(road.line.s_M) > 45.0
        gap = np.linalg.norm(road.line.xy_M2[far][:, None] - main.line.xy_M2[None, ::8], axis=2).min()
        if gap > 25.0:
            roads.append(road)
            gaps.append((s, road.half_width))
        s += rng.uniform(65.0, 130.0)
    return roads, gaps


def _moved_to_positive(script: SceneScript) -> SceneScript:
    """Shifts the whole scene so that every road lies at positive coordinates, as on a nuScenes map."""
    low = np.min([road.line.xy_M2.min(axis=0) for road in script.roads], axis=0) - 40.0
    dx, dy = (float(v) for v in -low)

    def moved(motion: Motion) -> Motion:
        return Motion(motion.time_K, motion.x_K + dx, motion.y_K + dy, motion.yaw_K)

    script.ego = moved(script.ego)
    script.roads = [Road(r.line.shifted(dx, dy), r.lanes, r.lane_width, r.parking, r.pavement) for r in script.roads]
    script.vehicles = [Vehicle(v.body, v.colour, moved(v.motion), v.parked) for v in script.vehicles]
    return script
