"""What every writer of table rows needs: tokens, headings, the rows themselves."""

import hashlib
from typing import Any

import numpy as np

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def token(*parts: object) -> str:
    """32 hexadecimal digits for this thing."""
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def heading(yaw: float) -> list[float]:
    """Quaternion w x y z of a turn about the vertical axis."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]
