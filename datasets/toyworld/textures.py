"""Procedural textures: smooth, periodic, mostly low and middle spatial frequencies.

Shape legend: H rows, W columns, 3 colours; values 0..1.
"""

import numpy as np


def smooth_noise(rng: np.random.Generator, size: int, waves: float) -> np.ndarray:
    """Periodic noise [size, size] of zero mean and unit variance with about `waves` waves across."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None] * size
    radius = np.hypot(fx, fy)
    spectrum *= np.exp(-((radius / waves - 1.0) ** 2) / 0.35)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    scaled: np.ndarray = noise / noise.std()
    return scaled


def blotches(rng: np.random.Generator, size: int, colour: np.ndarray, scales: dict[float, float]) -> np.ndarray:
    """A colour [3] modulated by noise: {waves across the tile: amplitude}."""
    flat = np.zeros((size, size))
    level = sum((amplitude * smooth_noise(rng, size, waves) for waves, amplitude in scales.items()), flat)
    tint = 0.25 * sum((amplitude * smooth_noise(rng, size, waves) for waves, amplitude in scales.items()), flat)
    picture = np.asarray(colour)[None, None] * (1 + level[..., None] + tint[..., None] * np.array([1.0, 0.2, -1.0]))
    clipped: np.ndarray = np.clip(picture, 0, 1)
    return clipped


def slabs(rng: np.random.Generator, size: int, colour: np.ndarray, count: int) -> np.ndarray:
    """Paving of count x count slabs with soft joints."""
    tone = 1 + 0.09 * rng.standard_normal((count, count))
    cell = size // count
    level = np.kron(tone, np.ones((cell, cell)))
    edge = np.minimum(np.arange(cell) + 0.5, cell - np.arange(cell) - 0.5)
    joint = 1 - 0.3 * np.exp(-((np.minimum(edge[:, None], edge[None]) / 2.0) ** 2))
    level = level * np.tile(joint, (count, count)) + 0.03 * smooth_noise(rng, size, 6)
    picture: np.ndarray = np.clip(np.asarray(colour)[None, None] * level[..., None], 0, 1)
    return picture


def facade(rng: np.random.Generator, size: int, wall: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """A wall of 4 bays x 4 floors with windows of one shape; covers 12 x 12 metres."""
    wall, glass = np.asarray(wall), np.asarray(glass)
    picture = np.broadcast_to(wall, (size, size, 3)) * (1 + 0.05 * smooth_noise(rng, size, 5)[..., None])
    cell = size // 4
    wide, high = rng.uniform(0.34, 0.8), rng.uniform(0.42, 0.68)
    frame = np.clip(wall * rng.choice([0.55, 1.4]), 0, 0.95)
    grid = (np.arange(cell) + 0.5) / cell - 0.5
    outer = _soft_box(grid, wide + 0.1, high + 0.1, cell)
    inner = _soft_box(grid, wide, high, cell)
    band = rng.uniform(0.0, 0.3)
    for row in range(4):
        for column in range(4):
            tone = np.clip(glass * rng.uniform(0.55, 1.5), 0, 1)
            if rng.random() < 0.15:
                tone = np.array([0.85, 0.78, 0.6])
            box = picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            box[:] = box * (1 - outer) + frame * outer
            box[:] = box * (1 - inner) + tone * inner
        strip = picture[row * cell : row * cell + cell // 10]
        strip *= 1 - band
    clipped: np.ndarray = np.clip(picture, 0, 1)
    return clipped


def _soft_box(grid: np.ndarray, width: float, height: float, cell: int) -> np.ndarray:
    soft = 0.7 / cell
    across = np.clip((width / 2 - np.abs(grid)) / soft, 0, 1)
    down = np.clip((height / 2 - np.abs(grid)) / soft, 0, 1)
    mask: np.ndarray = (down[:, None] * across[None])[..., None]
    return mask


def cladding(rng: np.random.Generator, size: int, colour: np.ndarray) -> np.ndarray:
    """Wide vertical panels of an industrial hall with a few dark doors."""
    panels = np.repeat(1 + 0.1 * rng.standard_normal(8), size // 8)
    picture = (
        np.asarray(colour)[None, None] * panels[None, :, None] * (1 + 0.04 * smooth_noise(rng, size, 4)[..., None])
    )
    grid = (np.arange(size // 2) + 0.5) / (size // 2) - 0.5
    door = _soft_box(grid, 0.5, 0.8, size // 2)
    corner = picture[size // 2 :, : size // 2]
    corner[:] = corner * (1 - door) + np.asarray(colour) * 0.45 * door
    clipped: np.ndarray = np.clip(picture, 0, 1)
    return clipped


def clouds(rng: np.random.Generator, size: int, zenith: np.ndarray, horizon: np.ndarray, cover: float) -> np.ndarray:
    """Sky [size, size]: azimuth (periodic) across, elevation from the zenith (row 0) to the horizon (last row)."""
    noise = sum(amplitude * smooth_noise(rng, size, waves) for waves, amplitude in {3: 1.0, 7: 0.7, 14: 0.4}.items())
    elevation = np.linspace(1, 0, size)[:, None]
    blend = elevation**0.6
    sky = np.asarray(horizon) * (1 - blend[..., None]) + np.asarray(zenith) * blend[..., None]
    mask = np.clip((noise - 1.3 + 2.6 * cover) / 1.1, 0, 1) * np.clip(elevation * 5, 0, 1)
    white = np.clip(np.asarray(horizon) * 1.04 + 0.06, 0, 1)
    clouded: np.ndarray = np.clip(sky * (1 - 0.85 * mask[..., None]) + white * 0.85 * mask[..., None], 0, 1)
    return clouded
