"""The interface of a backend, and which there are."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact

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


def open_backend(name: str, artifact: Artifact, **options: Any) -> Backend:
    """`onnxruntime` or `tensorrt`, with the parts of `artifact` that a prediction runs.

    Args:
        **options: of `OnnxRuntimeBackend` or `TensorRTBackend`.

    Raises:
        InputError: an unknown name, a backend that is not installed, or files that it cannot use.
    """
    if name == "onnxruntime":
        from worldmodel.export.runtime.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(artifact, **options)
    if name == "tensorrt":
        from worldmodel.export.runtime.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(artifact, **options)
    raise InputError(f"backend={name}: use onnxruntime or tensorrt")
