"""A scene's daylight, colours and textures."""

import numpy as np

from worldmodel.datasets.toyworld.mesh import Light
from worldmodel.datasets.toyworld.roads import ASPHALT_TONE
from worldmodel.datasets.toyworld.textures import blotches, cladding, clouds, facade, slabs

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


def daylight(rng: np.random.Generator) -> Light:
    """One of four moods, with the sun in any direction and 29 to 63 degrees high."""
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


def paint_textures(rng: np.random.Generator, light: Light) -> dict[str, np.ndarray]:
    """Pictures [H, W, 3] in 0..1 by the names that meshes use: ground, leaves, facades, halls, sky."""
    green = np.array([0.36, 0.47, 0.22]) * rng.uniform(0.8, 1.25, 3)
    asphalt = ASPHALT_TONE * rng.uniform(0.85, 1.2)
    pavement = np.array([0.64, 0.62, 0.58]) * rng.uniform(0.85, 1.1, 3)
    leaf = np.array([0.28, 0.42, 0.18]) * rng.uniform(0.75, 1.3, 3)
    pictures = {
        "grass": blotches(rng, 256, green, {3: 0.09, 8: 0.09, 22: 0.06}),
        "asphalt": blotches(rng, 256, asphalt, {3: 0.06, 9: 0.07, 24: 0.05}),
        "pavement": slabs(rng, 128, pavement, 4),
        "leaf": blotches(rng, 64, leaf, {2: 0.14, 5: 0.16}),
        "hedge": blotches(rng, 64, leaf * 0.85, {3: 0.12, 7: 0.12}),
    }
    for index in range(FACADES):
        wall = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.85, 1.12)
        glass = np.array([0.24, 0.3, 0.36]) * rng.uniform(0.7, 1.3)
        pictures[f"facade{index}"] = facade(rng, 256, wall, glass)
    for index in range(2):
        pictures[f"hall{index}"] = cladding(rng, 128, HALLS[rng.integers(len(HALLS))])
    blue, pale = np.array([0.36, 0.56, 0.85]), np.array([0.8, 0.87, 0.93])
    cover = rng.uniform(0.15, 0.9)
    grey = np.array([0.66, 0.7, 0.75])
    mix = np.clip(cover * 1.1 - 0.25, 0, 0.8)
    sky = clouds(rng, 256, blue * (1 - mix) + grey * mix, pale * light.tint, cover)
    pictures["sky"] = np.clip(sky, 0, 1)
    return pictures
