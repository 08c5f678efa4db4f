"""The interface of a backend."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

Values = dict[str, np.ndarray | Any]
"""Inputs or outputs of a part by name: arrays, and what stayed on the backend's device, which only it reads, as an
input of a later run."""


@runtime_checkable
class Backend(Protocol):
    """Runs one part at a time. All parts are loaded, and all files checked, when it is made."""

    name: str

    def run(self, part: str, inputs: Mapping[str, np.ndarray | Any], keep: Collection[str] = ()) -> Values:
        """The outputs of `part` by name, shapes and dtypes as its `Port`s in the manifest say.

        Args:
            inputs: all inputs of the part by name.
            keep: outputs that are only wanted as inputs of a later run and need not leave the device.
        """
        ...

    def close(self) -> None:
        """Give back the memory of the device; the backend cannot be used any more."""
        ...
