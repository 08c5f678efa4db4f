"""What runs the parts of an artifact: ONNX Runtime or TensorRT, behind one small interface."""

from worldmodel.export.runtime.backends.backend import Backend, Values, open_backend

__all__ = ["Backend", "Values", "open_backend"]
