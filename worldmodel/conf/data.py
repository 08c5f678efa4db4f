"""The two `data` verbs as plain dataclasses and functions."""

from dataclasses import dataclass, field

from worldmodel.datasets.nuscenes import open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
