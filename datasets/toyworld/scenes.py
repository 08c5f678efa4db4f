"""Seeded scene scripts: which roads there are, how the ego vehicle drives, who else is on the road.

Right-hand traffic. The main road runs along its track; lane offsets are metres to the left of it.
"""

from dataclasses import dataclass, field

import numpy as np

from worldmodel.datasets.toyworld.tracks import Motion, Track, drive, straight_track, track_from_curvature

KINDS = ("straight", "curve", "turn", "stop_and_go", "overtaking")
DISTRICTS = ("city", "suburb", "park", "works")
LEAD_IN, LEAD_OUT = 170.0, 230.0  # metres of road behind the start and beyond the end of the drive


@dataclass(frozen=True)
class Road:
    """A road: its line, lanes in each direction, widths in metres."""

    track: Track
    lanes: int
    lane_width: float
    parking: float
    pavement: float

    @property
    def half_width(self) -> float:
        """From the centre line to the kerb."""
        return self.lanes * self.lane_width + self.parking

    def lane(self, index: int) -> float:
        """Offset of a lane's middle, counted from the centre line outwards, on the right-hand side (negative)."""
        return -(index + 0.5) * self.lane_width


@dataclass(frozen=True)
class Vehicle:
    """Another car: body, colour, motion."""

    body: str
    colour: tuple[float, float, float]
    motion: Motion
    parked: bool


@dataclass
class SceneScript:
    """Everything that defines one drive, apart from the scenery beside the road."""

    name: str
    split: str
    kind: str
    seconds: float
    district: str
    ego: Motion
    roads: list[Road]
    junctions: list[tuple[float, float]] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    palette_seed: int = 0


def scene_script(seed: int, split: str, index: int, name: str, seconds: float) -> SceneScript:
    """The script of scene `index` of a split; depends on these arguments only.

    Kinds follow each other in the order of `KINDS`.
    """
    rng = np.random.default_rng([seed, {"train": 0, "val": 1}[split], index])
    kind = KINDS[index % len(KINDS)]
    builder = _turn_scene if kind == "turn" else _main_road_scene
    script = builder(rng, kind, seconds)
    script.name, script.split = name, split
    return _moved_to_positive(script)


def _clock(seconds: float) -> np.ndarray:
    return np.arange(-4.0, seconds + 5.0, 0.02)


def _district(rng: np.random.Generator) -> str:
    return str(rng.choice(DISTRICTS, p=[0.42, 0.28, 0.15, 0.15]))


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
    return progress - np.interp(0.0, time, progress)


def _main_road_scene(rng: np.random.Generator, kind: str, seconds: float) -> SceneScript:
    time = _clock(seconds)
    progress = _ego_progress(rng, kind, time, seconds)
    length = float(np.interp(seconds, time, progress))
    s = np.arange(-LEAD_IN, length + LEAD_OUT, 0.5)
    track = track_from_curvature(s, _curvature(rng, kind, s, length), rng.uniform(-np.pi, np.pi))
    lanes = 2 if kind == "overtaking" else int(rng.choice([1, 1, 2]))
    parking = float(rng.choice([0.0, 2.3, 2.3]))
    main = Road(track, lanes, rng.uniform(3.2, 3.8), parking, rng.uniform(2.0, 4.5))
    side_roads, junctions = _side_roads(rng, main, length)
    ego_lane, traffic = _traffic(rng, kind, main, time, progress, seconds)
    script = SceneScript(
        "", "", kind, seconds, _district(rng), drive(track, time, progress, ego_lane), [main, *side_roads]
    )
    script.junctions = junctions
    script.vehicles = traffic + _parked(rng, main, junctions) + _waiting(rng, side_roads)
    script.palette_seed = int(rng.integers(2**31))
    return script


def _curvature(rng: np.random.Generator, kind: str, s: np.ndarray, length: float) -> np.ndarray:
    """Curvature over the road, 1/metre: long gentle waves, or bends that add up to less than half a turn."""
    if kind != "curve":
        return 0.0012 * np.sin(2 * np.pi * s / rng.uniform(180, 300) + rng.uniform(0, 6.28)) * rng.choice([0.0, 1.0])
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
        x, y, yaw = (float(v[0]) for v in main.track.pose(np.array([s])))
        road = Road(straight_track(x, y, yaw + np.pi / 2, 130.0, 130.0), 1, rng.uniform(3.0, 3.5), 0.0, main.pavement)
        far = np.abs(road.track.s_M) > 45.0
        gap = np.linalg.norm(road.track.xy_M2[far][:, None] - main.track.xy_M2[None, ::8], axis=2).min()
        if gap > 25.0:
            roads.append(road)
            gaps.append((s, road.half_width))
        s += rng.uniform(65.0, 130.0)
    return roads, gaps


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
    return tuple(float(v) for v in np.clip(base, 0, 1))


def _vehicle(rng: np.random.Generator, motion: Motion, parked: bool = False, short: bool = False) -> Vehicle:
    weights = [0.5, 0.34, 0.16, 0.0, 0.0] if parked or short else [0.45, 0.25, 0.12, 0.1, 0.08]
    body = str(rng.choice(["saloon", "estate", "van", "truck", "bus"], p=weights))
    return Vehicle(body, _colour(rng), motion, parked)


def _traffic(
    rng: np.random.Generator, kind: str, main: Road, time: np.ndarray, progress: np.ndarray, seconds: float
) -> tuple[np.ndarray, list[Vehicle]]:
    """The ego vehicle's lane offset over time, and the moving cars of the main road."""
    cars: list[Vehicle] = []
    outer = main.lanes - 1
    ego_lane = np.full_like(time, main.lane(outer))

    def ahead(shift_s: float, gap: float) -> np.ndarray:
        return np.interp(time + shift_s, time, progress, right=None) + gap

    def add(s: np.ndarray, left: np.ndarray | float, reverse: bool = False) -> None:
        low, high = main.track.span
        cars.append(_vehicle(rng, drive(main.track, time, np.clip(s, low + 1, high - 1), left, reverse)))

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


def _still(x: float, y: float, yaw: float) -> Motion:
    return Motion(np.array([0.0, 1.0]), np.full(2, x), np.full(2, y), np.full(2, yaw))


def _parked(rng: np.random.Generator, road: Road, gaps: list[tuple[float, float]]) -> list[Vehicle]:
    if not road.parking:
        return []
    cars = []
    density = rng.uniform(0.35, 0.8)
    for side in (-1.0, 1.0):
        s = road.track.span[0] + 100.0
        while s < road.track.span[1] - 120.0:
            free = all(abs(s - at) > half + 8.0 for at, half in gaps)
            if free and rng.random() < density:
                x, y, yaw = road.track.pose(np.array([s]), side * (road.half_width - 1.15))
                cars.append(_vehicle(rng, _still(x[0], y[0], yaw[0] + (np.pi if side > 0 else 0.0)), parked=True))
            s += rng.uniform(6.2, 9.0)
    return cars


def _waiting(rng: np.random.Generator, side_roads: list[Road]) -> list[Vehicle]:
    """Cars that stand before a crossing, on the right-hand side of their own road."""
    cars = []
    for road in side_roads:
        for towards in (1.0, -1.0):
            if rng.random() < 0.4:
                distance = rng.uniform(15.0, 18.0)
                x, y, yaw = road.track.pose(np.array([-towards * distance]), towards * road.lane(0))
                cars.append(_vehicle(rng, _still(x[0], y[0], yaw[0] + (0.0 if towards > 0 else np.pi)), short=True))
    return cars


def _turn_scene(rng: np.random.Generator, kind: str, seconds: float) -> SceneScript:
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
    track = track_from_curvature(s, curvature, rng.uniform(-np.pi, np.pi))
    cruise, slow = rng.uniform(6.5, 8.5), rng.uniform(0.28, 0.42)
    middle = begin + arc / 2
    time = _clock(seconds)

    def progress_from(start: float) -> np.ndarray:
        s_now, found = start, []
        for _ in time:
            found.append(s_now)
            s_now += 0.02 * cruise * (1 - slow * np.exp(-(((s_now - middle) / 16.0) ** 2)))
        found = np.array(found)
        return found

    base = progress_from(-30.0)
    base = progress_from(-30.0 - float(np.interp(0.0, time, base)))
    roads = []
    for at in (begin - 12.0, begin + arc + ramp + 12.0):
        x, y, yaw = (float(v[0]) for v in track.pose(np.array([at]), width / 2))
        roads.append(Road(straight_track(x, y, yaw, 200.0, 200.0), 1, width, 0.0, rng.uniform(2.0, 4.0)))
    vehicles = []
    if rng.random() < 0.6:
        vehicles.append(_vehicle(rng, drive(track, time, progress_from(base[0] + rng.uniform(13, 19)), 0.0)))
    if rng.random() < 0.6:
        vehicles.append(_vehicle(rng, drive(track, time, progress_from(base[0] - rng.uniform(13, 19)), 0.0)))
    roads, junctions = _crossed(roads)
    vehicles += _junction_traffic(rng, roads, time)
    script = SceneScript("", "", kind, seconds, _district(rng), drive(track, time, base, 0.0), roads)
    script.junctions = junctions
    script.vehicles = vehicles
    script.palette_seed = int(rng.integers(2**31))
    return script


def _crossed(roads: list[Road]) -> tuple[list[Road], list[tuple[float, float]]]:
    """The same two straight roads with arc length 0 at their crossing, and the gap it makes in the first."""
    (p, a), (q, b) = ((r.track.xy_M2[0], np.array([np.cos(r.track.yaw_M[0]), np.sin(r.track.yaw_M[0])])) for r in roads)
    along = np.linalg.solve(np.stack([a, -b], axis=1), q - p)[0]
    x, y = p + along * a
    moved = [
        Road(straight_track(x, y, float(r.track.yaw_M[0]), 220.0, 220.0), r.lanes, r.lane_width, r.parking, r.pavement)
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
                x, y, yaw = road.track.pose(np.array([-towards * distance]), lane)
                cars.append(_vehicle(rng, _still(x[0], y[0], yaw[0] + (0.0 if towards > 0 else np.pi)), short=True))
        else:
            pace = rng.uniform(5.0, 9.0)
            start = rng.uniform(14.0, 30.0) + np.maximum(0.0, pace * time)
            cars.append(_vehicle(rng, drive(road.track, time, np.clip(towards * start, -215, 215), lane, towards < 0)))
    return cars


def _moved_to_positive(script: SceneScript) -> SceneScript:
    """Shifts the whole scene so that every road lies at positive coordinates, as on a nuScenes map."""
    low = np.min([road.track.xy_M2.min(axis=0) for road in script.roads], axis=0) - 40.0
    dx, dy = (float(v) for v in -low)

    def moved(motion: Motion) -> Motion:
        return Motion(motion.time_K, motion.x_K + dx, motion.y_K + dy, motion.yaw_K)

    script.ego = moved(script.ego)
    script.roads = [Road(r.track.shifted(dx, dy), r.lanes, r.lane_width, r.parking, r.pavement) for r in script.roads]
    script.vehicles = [Vehicle(v.body, v.colour, moved(v.motion), v.parked) for v in script.vehicles]
    return script
