"""Bodies of the other road users, built in their own frame: x forward, y left, z up, origin on the ground, metres."""

import numpy as np

from worldmodel.datasets.toyworld.mesh import Light, Stage

# length, width, height; nuScenes category
BODIES: dict[str, tuple[tuple[float, float, float], str]] = {
    "saloon": ((4.6, 1.85, 1.48), "vehicle.car"),
    "estate": ((4.7, 1.95, 1.72), "vehicle.car"),
    "van": ((5.2, 2.05, 2.25), "vehicle.car"),
    "truck": ((7.6, 2.45, 3.2), "vehicle.truck"),
    "bus": ((11.0, 2.6, 3.1), "vehicle.bus.rigid"),
}

GLASS = np.array([0.16, 0.2, 0.25])
RUBBER = np.array([0.09, 0.09, 0.1])

Point = tuple[float, float]
Profile = tuple[list[Point], list[Point], list[Point]]

# Side view from the front bumper over the roof to the rear, as fractions of length (0 = front) and height.
PROFILES: dict[str, Profile] = {
    "saloon": ([(0.0, 0.42), (0.27, 0.6)], [(0.42, 0.98), (0.72, 1.0)], [(0.87, 0.66), (1.0, 0.6)]),
    "estate": ([(0.0, 0.45), (0.23, 0.58)], [(0.35, 0.97), (0.9, 1.0)], [(0.97, 0.6), (1.0, 0.55)]),
    "van": ([(0.0, 0.4), (0.14, 0.5)], [(0.27, 0.96), (0.97, 1.0)], [(0.99, 0.6), (1.0, 0.5)]),
}


def build_car(body: str, colour: tuple[float, float, float], light: Light) -> Stage:
    """The meshes of one car."""
    stage = Stage(light, tiled=False)
    size = BODIES[body][0]
    if body in PROFILES:
        _passenger_car(stage, PROFILES[body], size, np.array(colour))
    elif body == "truck":
        _truck(stage, size, np.array(colour))
    else:
        _bus(stage, size, np.array(colour))
    _wheels(stage, size, 0.34 if body in PROFILES else 0.48)
    shadow = [(1.04, 1.12), (0.9, 1.16)]
    for (grow_x, grow_y), alpha in zip(shadow, (0.35, 0.4), strict=True):
        x, y = size[0] / 2 * grow_x, size[1] / 2 * grow_y
        corners = np.array([[x, -y, 0], [x, y, 0], [-x, y, 0], [-x, -y, 0]])
        stage.polygon(corners, np.array([0.0, 0.0, 0.0, alpha]), layer=9)
    return stage


def _passenger_car(stage: Stage, profile: Profile, size: tuple[float, float, float], colour: np.ndarray) -> None:
    length, width, height = size

    def at(point: Point) -> Point:
        return length * (0.5 - point[0]), height * point[1]

    bonnet, roof, boot = ([at(p) for p in part] for part in profile)
    half, tuck, sill = width / 2, width / 2 * 0.8, 0.24
    lower = [(length / 2, sill), *bonnet, *boot, (-length / 2, sill)]
    for side in (1.0, -1.0):
        wall = np.array([[x, side * half, z] for x, z in lower])
        stage.polygon(wall[::-1] if side > 0 else wall, colour)
        _cabin_side(stage, (bonnet[1], boot[0]), roof, side, (half, tuck), colour)
    strips = [
        ((length / 2, sill), bonnet[0], colour * 0.8, half, half),
        (bonnet[0], bonnet[1], colour, half, half),
        (bonnet[1], roof[0], GLASS, half, tuck),
        (roof[0], roof[1], colour, tuck, tuck),
        (roof[1], boot[0], GLASS, tuck, half),
        (boot[0], boot[1], colour, half, half),
        (boot[1], (-length / 2, sill), colour * 0.85, half, half),
    ]
    for (x0, z0), (x1, z1), tone, y0, y1 in strips:
        stage.polygon(np.array([[x0, -y0, z0], [x0, y0, z0], [x1, y1, z1], [x1, -y1, z1]]), tone)
    _lights(
        stage, length / 2 + 0.02, half, (bonnet[0][1] - 0.2, bonnet[0][1] - 0.04), np.array([0.95, 0.93, 0.82]), 1.0
    )
    _lights(stage, length / 2 + 0.02, half, (boot[1][1] - 0.24, boot[1][1] - 0.04), np.array([0.7, 0.06, 0.05]), -1.0)


def _cabin_side(
    stage: Stage, belt: tuple[Point, Point], roof: list[Point], side: float, widths: tuple[float, float],
    colour: np.ndarray,
) -> None:  # fmt: skip
    """Pillars and windows between the belt line, from front to rear, and the roof; `widths` are half of either's."""
    (front, rear), (half, tuck) = belt, widths
    bottom = np.array([[front[0], side * half, front[1]], [rear[0], side * half, rear[1]]])
    top = np.array([[roof[0][0], side * tuck, roof[0][1]], [roof[1][0], side * tuck, roof[1][1]]])
    cuts = [0.0, 0.07, 0.48, 0.54, 0.92, 1.0]
    for i, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        quad = np.array([_mix(bottom, a), _mix(bottom, b), _mix(top, b), _mix(top, a)])
        stage.polygon(quad[::-1] if side < 0 else quad, GLASS if i % 2 else colour * 0.9)


def _mix(pair: np.ndarray, at: float) -> np.ndarray:
    point: np.ndarray = pair[0] * (1 - at) + pair[1] * at
    return point


def _lights(
    stage: Stage, x: float, half: float, heights: tuple[float, float], colour: np.ndarray, facing: float
) -> None:
    low, high = heights
    for side in (1.0, -1.0):
        a, b = side * half * 0.95, side * half * 0.6
        if facing < 0:
            left, right = (b, a) if side > 0 else (a, b)
            quad = [[-x, right, low], [-x, left, low], [-x, left, high], [-x, right, high]]
        else:
            left, right = (a, b) if side > 0 else (b, a)
            quad = [[x, right, low], [x, left, low], [x, left, high], [x, right, high]]
        stage.polygon(np.array(quad), colour / 0.9)


def _wheels(stage: Stage, size: tuple[float, float, float], radius: float) -> None:
    length, width, _ = size
    angle = np.arange(10) * 2 * np.pi / 10
    for x in (length * 0.31, -length * 0.3):
        for side in (1.0, -1.0):
            y = side * (width / 2 + 0.05)
            rim = np.column_stack([x + radius * np.cos(angle), np.full(10, y), radius + radius * np.sin(angle)])
            stage.polygon(rim if side < 0 else rim[::-1], RUBBER)
            hub = np.column_stack(
                [
                    x + radius * 0.55 * np.cos(angle),
                    np.full(10, y + side * 0.03),
                    radius + radius * 0.55 * np.sin(angle),
                ]
            )
            stage.polygon(hub if side < 0 else hub[::-1], np.array([0.5, 0.5, 0.52]))
            inner = rim.copy()
            inner[:, 1] = side * (width / 2 - 0.25)
            for i in range(10):
                j = (i + 1) % 10
                quad = np.array([rim[i], rim[j], inner[j], inner[i]])
                stage.polygon(quad[::-1] if side < 0 else quad, RUBBER * 0.7)


def _truck(stage: Stage, size: tuple[float, float, float], colour: np.ndarray) -> None:
    length, width, height = size
    cab = 2.0
    front = length / 2
    stage.box((front - cab / 2, 0, 0), (cab, width, 1.1), 0.5, colour)
    stage.box((front - cab / 2, 0, 0), (cab * 0.96, width * 0.96, 0.8), 1.6, GLASS, lid=False)
    stage.box((front - cab / 2, 0, 0), (cab, width, 0.3), 2.4, colour)
    cargo = length - cab - 0.25
    pale = np.clip(0.45 + 0.5 * colour, 0, 0.95)
    stage.box((-front + cargo / 2, 0, 0), (cargo, width, height - 0.9), 0.9, pale)
    stage.box((-front + cargo / 2, 0, 0), (cargo, width * 0.9, 0.4), 0.5, np.array([0.2, 0.2, 0.22]))
    _lights(stage, front + 0.02, width / 2, (0.7, 0.95), np.array([0.95, 0.93, 0.82]), 1.0)
    _lights(stage, front + 0.02, width / 2, (0.6, 0.85), np.array([0.7, 0.06, 0.05]), -1.0)


def _bus(stage: Stage, size: tuple[float, float, float], colour: np.ndarray) -> None:
    length, width, height = size
    stage.box((0, 0, 0), (length, width, 0.95), 0.35, colour)
    stage.box((0, 0, 0), (length, width, 0.25), 1.3, np.clip(0.3 + 0.7 * colour, 0, 0.95))
    panes = 7
    step = length / panes
    for i in range(panes):
        x = -length / 2 + step * (i + 0.5)
        stage.box((x, 0, 0), (step * 0.84, width * 0.985, 1.0), 1.55, GLASS * (0.9 + 0.2 * (i % 2)), lid=False)
        stage.box((x + step * 0.5, 0, 0), (step * 0.16, width * 0.985, 1.0), 1.55, colour * 0.9, lid=False)
    stage.box((0, 0, 0), (length, width, height - 2.55), 2.55, colour)
    _lights(stage, length / 2 + 0.02, width / 2, (0.55, 0.8), np.array([0.95, 0.93, 0.82]), 1.0)
    _lights(stage, length / 2 + 0.02, width / 2, (0.6, 0.95), np.array([0.7, 0.06, 0.05]), -1.0)
