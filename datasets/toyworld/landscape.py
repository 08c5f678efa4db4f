"""What stands beside the road: buildings, trees, hedges, lamp posts, signs; the distant hills; the scene's palette."""

from dataclasses import dataclass

import numpy as np

from worldmodel.datasets.toyworld import textures
from worldmodel.datasets.toyworld.mesh import SPHERE, Light, Stage, footprint
from worldmodel.datasets.toyworld.roads import ASPHALT_TONE, grass, lay_roads, shadow_disc
from worldmodel.datasets.toyworld.scenes import Road, SceneScript

WALLS = np.array(
    [
        (0.72, 0.42, 0.32),
        (0.82, 0.76, 0.62),
        (0.62, 0.62, 0.64),
        (0.85, 0.83, 0.78),
        (0.55, 0.36, 0.27),
        (0.72, 0.66, 0.42),
        (0.52, 0.6, 0.66),
        (0.78, 0.55, 0.42),
        (0.48, 0.5, 0.44),
        (0.8, 0.68, 0.64),
        (0.42, 0.46, 0.52),
    ]
)
ROOFS = np.array([(0.52, 0.24, 0.18), (0.34, 0.33, 0.34), (0.42, 0.3, 0.22), (0.28, 0.32, 0.36)])
HALLS = np.array([(0.6, 0.64, 0.68), (0.36, 0.5, 0.64), (0.7, 0.66, 0.56), (0.5, 0.58, 0.46), (0.74, 0.48, 0.36)])
SIGNS = np.array([(0.78, 0.16, 0.14), (0.12, 0.32, 0.68), (0.92, 0.74, 0.14), (0.14, 0.5, 0.3), (0.9, 0.9, 0.88)])
FACADES = 5


@dataclass(frozen=True)
class Landscape:
    """A built scene: its static meshes, its textures [H, W, 3] in 0..1, its light, the hills around."""

    stage: Stage
    textures: dict[str, np.ndarray]
    light: Light
    hills_N2: np.ndarray
    hill_colours: np.ndarray


class Ground:
    """Which half metres of ground are taken by roads or buildings."""

    CELL = 0.5

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low = low
        self.taken = np.zeros(tuple(((high - low) / self.CELL).astype(int) + 1), dtype=bool)

    def cover(self, road: Road, margin: float) -> None:
        """Takes the road's width plus a margin."""
        s = np.arange(road.track.span[0], road.track.span[1], 0.4)
        for left in np.arange(-road.half_width - margin, road.half_width + margin + 0.01, 0.4):
            x, y, _ = road.track.pose(s, float(left))
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


def build_landscape(script: SceneScript) -> Landscape:
    """Meshes and textures of a scene; depends on the script only."""
    rng = np.random.default_rng(script.palette_seed)
    light = _daylight(rng)
    stage = Stage(light)
    points = np.concatenate([road.track.xy_M2 for road in script.roads])
    low, high = points.min(axis=0), points.max(axis=0)
    pictures = _pictures(rng, light)
    grass(stage, rng, low, high)
    lay_roads(stage, rng, script)
    ground = Ground(low - 60, high + 60)
    for road in script.roads:
        ground.cover(road, road.pavement + 0.3)
    for road in script.roads:
        for side in (1.0, -1.0):
            _roadside(stage, rng, script, road, side, ground)
    for road in script.roads:
        _street_furniture(stage, rng, road, script.roads)
    _wild_trees(stage, rng, ground, low, high)
    azimuth = np.linspace(0, 2 * np.pi, 97)
    waves = sum(rng.uniform(0.2, 1) / k * np.sin(k * azimuth + rng.uniform(0, 6.28)) for k in (2, 3, 5, 9, 14))
    height = np.clip(0.045 + 0.022 * waves, 0.012, 0.12)
    tone = np.array([0.36, 0.46, 0.44]) * rng.uniform(0.8, 1.15, 3)
    return Landscape(stage, pictures, light, np.column_stack([azimuth, height]), np.clip(tone * light.tint, 0, 1))


def _daylight(rng: np.random.Generator) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    moods = [
        (0.62, 0.5, (1.0, 1.0, 1.0)),
        (0.72, 0.28, (0.94, 0.97, 1.02)),
        (0.6, 0.48, (1.06, 0.98, 0.86)),
        (0.55, 0.42, (0.98, 0.95, 0.95)),
    ]
    ambient, diffuse, tint = moods[rng.integers(len(moods))]
    return Light(sun, ambient, diffuse, np.array(tint))


def _pictures(rng: np.random.Generator, light: Light) -> dict[str, np.ndarray]:
    green = np.array([0.36, 0.47, 0.22]) * rng.uniform(0.8, 1.25, 3)
    asphalt = ASPHALT_TONE * rng.uniform(0.85, 1.2)
    pavement = np.array([0.64, 0.62, 0.58]) * rng.uniform(0.85, 1.1, 3)
    leaf = np.array([0.28, 0.42, 0.18]) * rng.uniform(0.75, 1.3, 3)
    pictures = {
        "grass": textures.blotches(rng, 256, green, {3: 0.09, 8: 0.09, 22: 0.06}),
        "asphalt": textures.blotches(rng, 256, asphalt, {3: 0.06, 9: 0.07, 24: 0.05}),
        "pavement": textures.slabs(rng, 128, pavement, 4),
        "leaf": textures.blotches(rng, 64, leaf, {2: 0.14, 5: 0.16}),
        "hedge": textures.blotches(rng, 64, leaf * 0.85, {3: 0.12, 7: 0.12}),
    }
    for index in range(FACADES):
        wall = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.85, 1.12)
        glass = np.array([0.24, 0.3, 0.36]) * rng.uniform(0.7, 1.3)
        pictures[f"facade{index}"] = textures.facade(rng, 256, wall, glass)
    for index in range(2):
        pictures[f"hall{index}"] = textures.cladding(rng, 128, HALLS[rng.integers(len(HALLS))])
    blue, pale = np.array([0.36, 0.56, 0.85]), np.array([0.8, 0.87, 0.93])
    cover = rng.uniform(0.15, 0.9)
    grey = np.array([0.66, 0.7, 0.75])
    mix = np.clip(cover * 1.1 - 0.25, 0, 0.8)
    sky = textures.clouds(rng, 256, blue * (1 - mix) + grey * mix, pale * light.tint, cover)
    pictures["sky"] = np.clip(sky, 0, 1)
    return pictures


def _roadside(
    stage: Stage, rng: np.random.Generator, script: SceneScript, road: Road, side: float, ground: Ground
) -> None:
    """A row of plots along one side of a road."""
    district = script.district if rng.random() < 0.75 else str(rng.choice(["city", "suburb", "park", "works"]))
    setback = {"city": 1.5, "suburb": 6.0, "park": 5.0, "works": 8.0}[district] + rng.uniform(0, 2.5)
    s, end = road.track.span[0] + 4, road.track.span[1] - 4
    while s < end:
        plot = {"city": rng.uniform(12, 26), "suburb": rng.uniform(9, 14), "park": 9.0, "works": rng.uniform(22, 42)}[
            district
        ]
        deep = {"city": rng.uniform(11, 16), "suburb": rng.uniform(8, 11), "park": 5.0, "works": rng.uniform(16, 26)}[
            district
        ]
        front = road.half_width + road.pavement + setback
        x, y, yaw = (float(v[0]) for v in road.track.pose(np.array([s + plot / 2]), side * (front + deep / 2)))
        frame = (x, y, yaw)
        if district == "park" or rng.random() < 0.08:
            for _ in range(int(rng.integers(1, 3))):
                tx, ty, _ = (
                    float(v[0])
                    for v in road.track.pose(np.array([s + rng.uniform(0, plot)]), side * (front + rng.uniform(-2, 14)))
                )
                if ground.claim((tx, ty, 0.0), 1.5, 1.5):
                    _tree(stage, rng, tx, ty, rng.uniform(4.5, 9.5))
        elif ground.claim(frame, plot, deep):
            {"city": _block, "suburb": _house, "works": _hall}[district](stage, rng, frame, plot, deep, side)
        if district == "suburb":
            _hedge(stage, rng, road, s, plot, side, ground)
        s += plot + rng.choice([0.3, 0.3, 4.0, 7.0] if district == "city" else [3.0, 5.0, 8.0])


def _block(stage: Stage, rng: np.random.Generator, frame, plot: float, deep: float, side: float) -> None:
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
    stage.box(frame, (plot, deep, height), base, tone, wall, 12.0, lid=False)
    stage.box(frame, (plot + 0.7, deep + 0.7, 0.7), base + height, WALLS[rng.integers(len(WALLS))] * 0.8)
    if rng.random() < 0.4:
        _gable(
            stage,
            frame,
            plot,
            deep,
            base + height + 0.7,
            rng.uniform(2, 4),
            ROOFS[rng.integers(len(ROOFS))],
            tone * 0.6,
        )


def _shop_fronts(stage: Stage, rng: np.random.Generator, frame, plot: float, deep: float, side: float) -> None:
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
    stage: Stage, frame, length: float, width: float, base: float, rise: float, roof: np.ndarray, wall: np.ndarray
) -> None:
    """A pitched roof with its ridge along the length."""
    corners = footprint(frame, length + 0.6, width + 0.6)
    a, b, c, d = (np.array([*corner, base]) for corner in corners)
    ridge_front, ridge_back = (a + b) / 2 + [0, 0, rise], (c + d) / 2 + [0, 0, rise]
    stage.polygon(np.array([b, c, ridge_back, ridge_front]), roof)
    stage.polygon(np.array([d, a, ridge_front, ridge_back]), roof)
    stage.polygon(np.array([a, b, ridge_front]), wall)
    stage.polygon(np.array([c, d, ridge_back]), wall)


def _house(stage: Stage, rng: np.random.Generator, frame, plot: float, deep: float, side: float) -> None:
    storeys = int(rng.integers(1, 3))
    roof, wall = ROOFS[rng.integers(len(ROOFS))], np.ones(3) * rng.uniform(0.85, 1.0)
    stage.box(frame, (plot, deep, storeys * 3.0), 0.0, wall, f"facade{rng.integers(FACADES)}", 12.0, lid=False)
    _gable(stage, frame, plot, deep, storeys * 3.0, rng.uniform(2.2, 3.6), roof, wall * 0.75)
    if rng.random() < 0.5:
        x, y, yaw = frame
        stage.box(
            (x + np.cos(yaw) * plot * 0.25, y + np.sin(yaw) * plot * 0.25, yaw),
            (0.9, 0.9, 2.0),
            storeys * 3.0 + 1.6,
            roof * 0.8,
        )


def _hall(stage: Stage, rng: np.random.Generator, frame, plot: float, deep: float, side: float) -> None:
    height = rng.uniform(5, 10)
    stage.box(frame, (plot, deep, height), 0.0, np.ones(3), f"hall{rng.integers(2)}", 12.0, top=np.full(3, 0.5))
    stage.box(frame, (plot + 0.2, deep + 0.2, 0.9), height - 0.9, SIGNS[rng.integers(len(SIGNS))] * 0.85)


def _hedge(
    stage: Stage, rng: np.random.Generator, road: Road, s: float, plot: float, side: float, ground: Ground
) -> None:
    if rng.random() < 0.5:
        return
    left = side * (road.half_width + road.pavement + 1.2)
    x, y, yaw = (float(v[0]) for v in road.track.pose(np.array([s + plot / 2]), left))
    if ground.claim((x, y, yaw), plot * 0.9, 0.8):
        stage.box(
            (x, y, yaw),
            (plot * 0.85, 0.9, rng.uniform(0.8, 1.5)),
            0.0,
            np.ones(3),
            "hedge",
            3.0,
            top=np.array([0.3, 0.42, 0.2]),
        )


def _tree(stage: Stage, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    trunk = height * rng.uniform(0.28, 0.4)
    crown = height * rng.uniform(0.26, 0.36)
    stage.tube(x, y, 0.0, trunk + crown * 0.5, 0.1 + 0.016 * height, np.array([0.36, 0.27, 0.19]))
    tone = np.clip(
        np.ones(3) * rng.uniform(0.75, 1.0) * np.array([rng.uniform(0.8, 1.0), 1.0, rng.uniform(0.7, 1.0)]), 0, 1
    )
    for part in range(int(rng.integers(1, 3))):
        bumps = 1 + 0.12 * rng.standard_normal(len(SPHERE[0]))
        bumps = _closed(bumps)
        offset = np.array([rng.uniform(-0.35, 0.35) * crown, rng.uniform(-0.35, 0.35) * crown, part * crown * 0.7])
        radii = crown * (1 - 0.25 * part) * np.array([1.0, 1.0, rng.uniform(0.95, 1.3)])
        stage.blob(np.array([x, y, trunk + crown * 0.85]) + offset, radii, tone, "leaf", bumps, 2.0)
    shadow_disc(stage, x, y, crown * 1.05, 0.4)


def _closed(bumps: np.ndarray) -> np.ndarray:
    """The seam and the poles of the sphere share one value each, or the ball would show cracks."""
    grid = bumps.reshape(6, 9).copy()
    grid[:, -1] = grid[:, 0]
    grid[0], grid[-1] = grid[0, 0], grid[-1, 0]
    return grid.ravel()


def _street_furniture(stage: Stage, rng: np.random.Generator, road: Road, roads: list[Road]) -> None:
    """Lamp posts, signs and street trees on the pavements, clear of other roads."""
    every, trees = rng.uniform(22, 34), rng.random() < 0.65
    lamp = np.array([0.34, 0.37, 0.38]) * rng.uniform(0.7, 1.5)
    for side in (1.0, -1.0):
        s = road.track.span[0] + rng.uniform(0, 10)
        while s < road.track.span[1]:
            x, y, yaw = (float(v[0]) for v in road.track.pose(np.array([s]), side * (road.half_width + 0.75)))
            if _off_road(x, y, road, roads):
                _lamp_post(stage, x, y, yaw, side, lamp)
                if rng.random() < 0.3:
                    _sign(stage, rng, x + np.cos(yaw) * 3, y + np.sin(yaw) * 3, yaw)
            if trees and rng.random() < 0.8:
                x, y, _ = (
                    float(v[0]) for v in road.track.pose(np.array([s + every / 2]), side * (road.half_width + 1.1))
                )
                if _off_road(x, y, road, roads):
                    _tree(stage, rng, x, y, rng.uniform(4.5, 7.5))
            s += every


def _off_road(x: float, y: float, road: Road, roads: list[Road]) -> bool:
    for other in roads:
        distance = np.hypot(other.track.xy_M2[:, 0] - x, other.track.xy_M2[:, 1] - y).min()
        if distance < other.half_width + (2.0 if other is not road else 0.4):
            return False
    return True


def _lamp_post(stage: Stage, x: float, y: float, yaw: float, side: float, colour: np.ndarray) -> None:
    stage.tube(x, y, 0.0, 7.0, 0.1, colour)
    stage.tube(x, y, 0.0, 0.9, 0.17, colour * 0.8)
    arm = (x + np.sin(yaw) * side * 0.8, y - np.cos(yaw) * side * 0.8, yaw)
    stage.box(arm, (0.22, 1.9, 0.14), 6.95, colour)
    tip = (x + np.sin(yaw) * side * 1.6, y - np.cos(yaw) * side * 1.6, yaw)
    stage.box(tip, (0.34, 0.8, 0.16), 6.82, np.array([0.85, 0.85, 0.8]))


def _sign(stage: Stage, rng: np.random.Generator, x: float, y: float, yaw: float) -> None:
    stage.tube(x, y, 0.0, 2.2, 0.06, np.array([0.5, 0.5, 0.52]))
    stage.box((x, y, yaw), (0.1, 0.8, 0.8), 2.1, SIGNS[rng.integers(len(SIGNS))])


def _wild_trees(stage: Stage, rng: np.random.Generator, ground: Ground, low: np.ndarray, high: np.ndarray) -> None:
    """Trees scattered over the fields, thinner on large scenes so that the count stays bounded."""
    for _ in range(240):
        x, y = rng.uniform(low - 50, high + 50)
        if ground.claim((float(x), float(y), 0.0), 4.0, 4.0):
            _tree(stage, rng, float(x), float(y), rng.uniform(5, 11))
