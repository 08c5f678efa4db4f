"""The whole scenery of a scene: ground, roads, plots, street furniture, trees, distant hills."""

from dataclasses import dataclass

import numpy as np

from worldmodel.datasets.toyworld.greenery import wild_trees
from worldmodel.datasets.toyworld.ground import Ground
from worldmodel.datasets.toyworld.mesh import Light, Stage
from worldmodel.datasets.toyworld.palette import daylight, paint_textures
from worldmodel.datasets.toyworld.plots import line_road
from worldmodel.datasets.toyworld.roads import grass, lay_roads
from worldmodel.datasets.toyworld.script import SceneScript
from worldmodel.datasets.toyworld.street import street_furniture


@dataclass(frozen=True)
class Landscape:
    """A built scene: its static meshes, its textures [H, W, 3] in 0..1, its light, the hills around."""

    stage: Stage
    textures: dict[str, np.ndarray]
    light: Light
    hills_N2: np.ndarray
    hill_colours: np.ndarray


def build_landscape(script: SceneScript) -> Landscape:
    """Meshes and textures of a scene; depends on the script only."""
    rng = np.random.default_rng(script.palette_seed)
    light = daylight(rng)
    stage = Stage(light)
    points = np.concatenate([road.line.xy_M2 for road in script.roads])
    low, high = points.min(axis=0), points.max(axis=0)
    pictures = paint_textures(rng, light)
    grass(stage, rng, low, high)
    lay_roads(stage, rng, script)
    taken = Ground(low - 60, high + 60)
    for road in script.roads:
        taken.cover(road, road.pavement + 0.3)
    for road in script.roads:
        for side in (1.0, -1.0):
            line_road(stage, rng, script, road, side, taken)
    for road in script.roads:
        street_furniture(stage, rng, road, script.roads)
    wild_trees(stage, rng, taken, low, high)
    azimuth = np.linspace(0, 2 * np.pi, 97)
    waves = sum(rng.uniform(0.2, 1) / k * np.sin(k * azimuth + rng.uniform(0, 6.28)) for k in (2, 3, 5, 9, 14))
    height = np.clip(0.045 + 0.022 * waves, 0.012, 0.12)
    tone = np.array([0.36, 0.46, 0.44]) * rng.uniform(0.8, 1.15, 3)
    return Landscape(stage, pictures, light, np.column_stack([azimuth, height]), np.clip(tone * light.tint, 0, 1))
