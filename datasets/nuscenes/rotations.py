"""Rotations of any writer as quaternions (w, x, y, z): nuScenes' own, nine numbers, or three rows of a matrix.

Shape legend: R records.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from worldmodel.errors import InputError

ORTHONORMAL = 1e-3  # how far a matrix' rows may be from unit length and from right angles


def quaternions(path: Path, values: list[Any], done: int) -> Float64[np.ndarray, "R 4"]:
    """The rotations of some records of a table, `done` of which came before.

    Raises:
        InputError: one has neither four numbers nor nine, is a quaternion of length 0, or no rotation.
    """
    try:
        if not set(map(len, values)) - {4}:
            rotations_R4 = np.array(values, dtype=np.float64).reshape(-1, 4)
        else:
            rotations_R4 = np.array([_quaternion(value) for value in values])
        lengths = np.einsum("ri,ri->r", rotations_R4, rotations_R4)
        if lengths.min(initial=1) > 1e-6:
            return rotations_R4
    except ValueError:
        pass
    bad = next(number for number, value in enumerate(values) if not _rotates(value))
    raise InputError(
        f"table {path}, record {done + bad}: rotation {values[bad]} is no quaternion (w, x, y, z) and no 3 x 3"
        " rotation; restore the table"
    )


def _rotates(value: Sequence[Any]) -> bool:
    try:
        return bool(np.linalg.norm(_quaternion(value)) > 1e-3)
    except ValueError:
        return False


def _quaternion(value: Sequence[Any]) -> np.ndarray:
    """One rotation; raises ValueError where it is none."""
    numbers = np.array(value, dtype=np.float64)
    if numbers.shape == (4,):
        return numbers
    matrix = numbers.reshape(3, 3)
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > ORTHONORMAL or np.linalg.det(matrix) < 0:
        raise ValueError
    return _of_matrix(matrix)


def _of_matrix(matrix: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "4"]:
    """The eigenvector of the greatest eigenvalue of Bar-Itzhack's symmetric matrix (2000), exact where others divide by
    small numbers."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return quaternion * (1 if quaternion[0] >= 0 else -1)
