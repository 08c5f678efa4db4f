"""Memory, copies, a stream and graphs of the first CUDA GPU, by NVIDIA's Python bindings of the CUDA runtime.

`cuda.bindings.runtime` (package cuda-bindings, or cuda-python from 12.6 on) or its older name `cuda.cudart`.
Not run in this project's tests, which have no GPU; the calls follow the bindings' documentation.
"""

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from worldmodel.errors import InputError, MissingDependency


def cuda_runtime() -> ModuleType:
    """The bindings; `MissingDependency` where they are not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        try:
            from cuda import cudart as runtime
        except ImportError:
            raise MissingDependency(
                "backend=tensorrt: CUDA's Python bindings are missing; pip install cuda-python"
            ) from None
    return runtime


class Cuda:
    """One stream on the first GPU; everything is enqueued on it, and `synchronise` waits for it.

    Raises:
        MissingDependency: no bindings.
        InputError: no GPU. Any call of CUDA that fails later raises `RuntimeError` with its code.
    """

    def __init__(self) -> None:
        self._runtime = cuda_runtime()
        code, count = self._runtime.cudaGetDeviceCount()
        if int(code) or not count:
            raise InputError("backend=tensorrt: CUDA finds no GPU here; use backend=onnxruntime")
        self.stream = int(self._call("cudaStreamCreate"))

    def gpu(self) -> tuple[str, str]:
        """Name and compute capability of the GPU, for example ("Orin", "8.7")."""
        properties = self._call("cudaGetDeviceProperties", 0)
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return name.rstrip("\0"), f"{properties.major}.{properties.minor}"

    def device_memory(self, size: int) -> int:
        """Address of `size` bytes on the device."""
        return int(self._call("cudaMalloc", max(1, size)))

    def pinned_array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array in page-locked memory of the host, from and to which copies run without the processor."""
        size = max(1, int(np.prod(shape)) * dtype.itemsize)
        address = int(self._call("cudaHostAlloc", size, 0))
        raw: Any = (ctypes.c_ubyte * size).from_address(address)
        return np.frombuffer(raw, dtype, count=int(np.prod(shape))).reshape(shape)

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def free_pinned(self, array: np.ndarray) -> None:
        """Give page-locked memory back; the array must not be used any more."""
        self._call("cudaFreeHost", array.ctypes.data)

    def to_device(self, address: int, array: np.ndarray) -> None:
        """Enqueue a copy of a pinned array to the device."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def to_host(self, array: np.ndarray, address: int) -> None:
        """Enqueue a copy from the device into a pinned array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def synchronise(self) -> None:
        """Wait until everything enqueued is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def captured(self, enqueue: Callable[[], None]) -> Any:
        """A graph of what `enqueue` puts on the stream; nothing runs yet."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self.stream, mode)
        try:
            enqueue()
        finally:
            graph = self._call("cudaStreamEndCapture", self.stream)
        executable = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        return executable

    def launch(self, graph: Any) -> None:
        """Enqueue a captured graph."""
        self._call("cudaGraphLaunch", graph, self.stream)

    def discard(self, graph: Any) -> None:
        """Give a captured graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def close(self) -> None:
        """Destroy the stream."""
        self._call("cudaStreamDestroy", self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *results = getattr(self._runtime, name)(*arguments)
        if int(code):
            raise RuntimeError(f"{name}: CUDA error {int(code)} ({code})")
        return results[0] if results else None
