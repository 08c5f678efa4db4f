"""Triangles with colours and texture coordinates, gathered per layer, texture and tile of ground.

Shape legend: V vertices, T triangles. Metres; z up; triangles are seen from the side from which they turn left.
"""

from dataclasses import dataclass, field

import numpy as np

TILE = 60.0  # metres; static things are grouped by tile so that the renderer can skip what it does not see


@dataclass
class Mesh:
    """A growing list of vertices and triangles."""

    xyz: list[np.ndarray] = field(default_factory=list)
    uv: list[np.ndarray] = field(default_factory=list)
    rgba: list[np.ndarray] = field(default_factory=list)
    triangles: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def add(self, xyz_V3: np.ndarray, uv_V2: np.ndarray | None, rgba_V4: np.ndarray, triangles_T3: np.ndarray) -> None:
        """Appends a piece; colours are 0..1."""
        size = len(xyz_V3)
        self.xyz.append(np.asarray(xyz_V3, dtype=np.float32))
        self.uv.append(np.zeros((size, 2), np.float32) if uv_V2 is None else np.asarray(uv_V2, dtype=np.float32))
        self.rgba.append(np.broadcast_to(np.asarray(rgba_V4, dtype=np.float32), (size, 4)))
        self.triangles.append(np.asarray(triangles_T3, dtype=np.uint32) + np.uint32(self.count))
        self.count += size


@dataclass(frozen=True)
class Light:
    """Daylight: direction to the sun, how bright the shade and the sun are, colour of the light."""

    sun: np.ndarray
    ambient: float
    diffuse: float
    tint: np.ndarray

    def shade(self, colour: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Colour [..., 3] as seen on a surface of this normal [..., 3]; returns RGBA [..., 4]."""
        facing = np.clip(np.asarray(normal) @ self.sun, 0, 1)
        upward = 0.5 + 0.5 * np.asarray(normal)[..., 2]
        level = (self.ambient * (0.75 + 0.25 * upward) + self.diffuse * facing)[..., None] * self.tint
        shaded = np.clip(np.asarray(colour) * level, 0, 1)
        return np.concatenate([shaded, np.ones_like(shaded[..., :1])], axis=-1)


@dataclass(frozen=True)
class Skin:
    """What a surface looks like: colour, texture, and metres per tile of it."""

    colour: np.ndarray
    texture: str = ""
    tile: float = 1.0


QUAD = np.array([[0, 1, 2], [0, 2, 3]])


class Stage:
    """Meshes by (layer, texture, tile). Layers below 10 lie on the ground and are painted in their order."""

    def __init__(self, light: Light, tiled: bool = True) -> None:
        self.light = light
        self.tiled = tiled
        self.meshes: dict[tuple[int, str, tuple[int, int]], Mesh] = {}

    def mesh(self, layer: int, texture: str, xyz_V3: np.ndarray) -> Mesh:
        """The mesh that a piece belongs to."""
        middle = np.asarray(xyz_V3)[:, :2].mean(axis=0) // TILE if self.tiled else (0, 0)
        return self.meshes.setdefault((layer, texture, (int(middle[0]), int(middle[1]))), Mesh())

    def polygon(
        self,
        xyz_V3: np.ndarray,
        colour: np.ndarray,
        texture: str = "",
        uv_V2: np.ndarray | None = None,
        layer: int = 10,
    ) -> None:
        """A convex flat polygon, counter-clockwise as seen from outside; a fourth number of `colour` is its opacity."""
        xyz = np.asarray(xyz_V3, dtype=np.float64)
        normal = np.cross(xyz[1] - xyz[0], xyz[2] - xyz[0])
        normal = normal / (np.linalg.norm(normal) + 1e-12)
        rgba = self.light.shade(np.asarray(colour[:3], dtype=np.float64), normal)
        rgba[3:] = colour[3:] if len(colour) > 3 else 1.0
        fan = np.array([[0, i, i + 1] for i in range(1, len(xyz) - 1)])
        self.mesh(layer, texture, xyz).add(xyz, uv_V2, rgba, fan)

    def box(
        self,
        frame: tuple[float, float, float],
        size: tuple[float, float, float],
        base: float,
        walls: np.ndarray | Skin,
        lid: np.ndarray | bool = True,
    ) -> None:
        """An upright box centred on `frame` = (x, y, yaw), `size` = (length, width, height), standing at z = base.

        `walls` is their colour, alone or with a texture; `lid` the colour of the lid, True that of the walls.
        """
        skin = walls if isinstance(walls, Skin) else Skin(walls)
        corners = footprint(frame, size[0], size[1])
        low, high = base, base + size[2]
        along = 0.0
        for i in range(4):
            a, b = corners[i], corners[(i + 1) % 4]
            width = float(np.hypot(*(b - a)))
            wall = np.array([[*a, low], [*b, low], [*b, high], [*a, high]])
            u0, u1, v1 = along / skin.tile, (along + width) / skin.tile, size[2] / skin.tile
            self.polygon(wall, skin.colour, skin.texture, np.array([[u0, 0], [u1, 0], [u1, v1], [u0, v1]]))
            along += np.ceil(width / skin.tile) * skin.tile
        if lid is not False:
            self.polygon(np.column_stack([corners, np.full(4, high)]), skin.colour if lid is True else lid)

    def tube(self, place: tuple[float, float], base: float, top: float, radius: float, colour: np.ndarray) -> None:
        """An upright prism of six sides without lids."""
        sides = 6
        angle = np.arange(sides + 1) * 2 * np.pi / sides
        normal = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(sides + 1)])
        ring = np.array([*place, 0.0]) + normal * radius
        xyz = np.concatenate([ring + [0, 0, base], ring + [0, 0, top]])
        rgba = self.light.shade(np.asarray(colour, dtype=np.float64), np.concatenate([normal, normal]))
        a = np.arange(sides)
        b = a + 1
        triangles = np.concatenate(
            [np.column_stack([a, b, b + sides + 1]), np.column_stack([a, b + sides + 1, a + sides + 1])]
        )
        self.mesh(10, "", xyz).add(xyz, None, rgba, triangles)

    def blob(self, centre: np.ndarray, radii: np.ndarray, skin: Skin, bumps: np.ndarray) -> None:
        """A bumpy ball; `bumps` [V] scales each of the sphere's vertices, `skin.tile` counts tiles around it."""
        xyz_unit, triangles = SPHERE
        xyz = np.asarray(centre) + xyz_unit * bumps[:, None] * np.asarray(radii)
        rgba = self.light.shade(np.asarray(skin.colour, dtype=np.float64), xyz_unit)
        uv = np.column_stack([np.arctan2(xyz_unit[:, 1], xyz_unit[:, 0]) / 3.1, xyz_unit[:, 2] * 0.8]) * skin.tile
        self.mesh(10, skin.texture, xyz).add(xyz, uv, rgba, triangles)


def footprint(frame: tuple[float, float, float], length: float, width: float) -> np.ndarray:
    """Corners [4, 2] of a rectangle, counter-clockwise from the front right."""
    x, y, yaw = frame
    forward, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    half = [(0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)]
    return np.array([np.array([x, y]) + forward * a * length + left * b * width for a, b in half])


def _sphere(rings: int = 5, sectors: int = 8) -> tuple[np.ndarray, np.ndarray]:
    polar = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    azimuth = np.arange(sectors + 1) * 2 * np.pi / sectors
    p, a = np.meshgrid(polar, azimuth, indexing="ij")
    xyz = np.stack([np.cos(p) * np.cos(a), np.cos(p) * np.sin(a), np.sin(p)], axis=-1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(rings), np.arange(sectors), indexing="ij")
    first = (row * (sectors + 1) + column).ravel()
    right, above, corner = first + 1, first + sectors + 1, first + sectors + 2
    return xyz, np.concatenate([np.column_stack([first, right, corner]), np.column_stack([first, corner, above])])


SPHERE = _sphere()
