"""What runs the parts of an artifact: ONNX Runtime or TensorRT, behind one small interface."""

from typing import Any

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.backend import Backend, Values

__all__ = ["Backend", "Values", "open_backend"]


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
