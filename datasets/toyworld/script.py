"""The nouns of a scene script: roads, vehicles, the script itself.

Right-hand traffic. Lane offsets are metres to the left of a road's line.
"""

from dataclasses import dataclass, field

import numpy as np

from worldmodel.datasets.toyworld.lines import Motion, RoadLine

DISTRICTS = ("city", "suburb", "park", "works")
LEAD_IN, LEAD_OUT = 170.0, 230.0  # metres of road behind the start and beyond the end of the drive


@dataclass(frozen=True)
class Road:
    """A road: its line, lanes in each direction, widths in metres."""

    line: RoadLine
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


def script_clock(seconds: float) -> np.ndarray:
    """Instants at which motions are known, some seconds before the start and after the end as well."""
    return np.arange(-4.0, seconds + 5.0, 0.02)


def pick_district(rng: np.random.Generator) -> str:
    """What kind of houses stand along the roads."""
    return str(rng.choice(DISTRICTS, p=[0.42, 0.28, 0.15, 0.15]))
