"""ONNX Runtime, on the CPU or on a CUDA GPU."""

from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from worldmodel.errors import InputError, MissingDependency, whole_message
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.backend import Values
from worldmodel.export.runtime.sessions import CPU, check_products, open_session, session_options

PROVIDERS = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeBackend:
    """One session a part.

    Args:
        device: "cpu" or "cuda" (the first GPU).
        threads: of one operator on the CPU; None takes one a core.

    Raises:
        InputError: ONNX Runtime or its CUDA build is missing, a file is missing or altered, or ONNX Runtime has no
            kernel for it (bf16 on a CPU, exact INT8 on this processor).
    """

    name = "onnxruntime"

    def __init__(self, artifact: Artifact, device: str = "cpu", threads: int | None = None) -> None:
        if device not in PROVIDERS:
            raise InputError(f"device={device}: use {' or '.join(PROVIDERS)}")
        if threads is not None and threads < 1:
            raise InputError(f"threads={threads}: use at least 1, or leave it out")
        self._onnxruntime, self._device = _imported(device), device
        check_products(artifact.manifest.precision.step)
        files = artifact.onnx_files(artifact.parts)
        self._sessions = {part: self._session(str(path), threads) for part, path in files.items()}

    def run(self, part: str, inputs: Mapping[str, np.ndarray | Any], keep: Collection[str] = ()) -> Values:
        """See `Backend.run`; what is kept are ONNX Runtime's own values."""
        session, as_value = self._sessions[part], self._onnxruntime.OrtValue.ortvalue_from_numpy
        values = {
            name: as_value(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        names = [output.name for output in session.get_outputs()]
        for name in names:
            binding.bind_output(name, self._device if name in keep else "cpu")
        session.run_with_iobinding(binding)
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        return {name: value if name in keep else value.numpy() for name, value in outputs.items()}

    def close(self) -> None:
        """Drop the sessions."""
        self._sessions.clear()

    def _session(self, path: str, threads: int | None) -> Any:
        provider = PROVIDERS[self._device]
        try:
            session = open_session(path, session_options(threads), provider)
        except Exception as error:  # its exceptions have no common class of their own
            reason = whole_message(error, 200)
            raise InputError(
                f"{path}: ONNX Runtime {self._onnxruntime.__version__} on {self._device} cannot load it ({reason});"
                " choose another device or backend, or export with precision=fp16"
            ) from error
        if provider not in session.get_providers():
            raise InputError(f"device={self._device}: ONNX Runtime found no usable GPU here; use device=cpu")
        return session


def _imported(device: str) -> ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependency("backend=onnxruntime: it is not installed; pip install onnxruntime") from None
    if PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise InputError(f"device={device}: this onnxruntime is built without it; pip install onnxruntime-gpu instead")
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN where pip put them
    return onnxruntime
