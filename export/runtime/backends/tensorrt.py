"""TensorRT's own Python module, as JetPack brings it: engines of `worldmodel export build`, one after another.

Not run in this project's tests: they have neither a GPU nor TensorRT. Every name used here was looked up in the
bindings of TensorRT 10.3, 10.13, 10.16 and 11.4. Contexts are made by `create_execution_context(USER_MANAGED)`, since
11 has dropped `create_execution_context_without_device_memory` and both are there from 10.0 on.

How memory is used: the engines never run at the same time, so that their contexts share one arena of the largest one's
size. Inputs and outputs have pinned host buffers. What is kept (the memory of a streaming decoder, hundreds of
megabytes at real size) stays on the device and comes back as the next call's input without a copy.
"""

import mmap
import weakref
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from worldmodel.errors import InputError, MissingDependency
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.backend import Values
from worldmodel.export.runtime.backends.cuda_memory import Cuda
from worldmodel.export.runtime.backends.engine_files import Machine, arena_bytes, plans_for

GRAPHED = "step"


@dataclass(frozen=True)
class OnDevice:
    """An output that stayed on the device: `size` bytes at `address`."""

    address: int
    size: int


class TensorRTBackend:
    """One engine a part.

    Args:
        cuda_graph: record the step once and replay it, which saves the launches of its kernels.

    Raises:
        InputError: TensorRT, CUDA's bindings or a GPU is missing, or the artifact has no engines for this machine.
    """

    name = "tensorrt"

    def __init__(self, artifact: Artifact, cuda_graph: bool = False) -> None:
        trt = _imported()
        self._cuda = Cuda()
        plans = plans_for(artifact, Machine(*self._cuda.gpu(), trt.__version__), artifact.parts)
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engines = {part: _engine(self._runtime, path) for part, path in plans.items()}
        size = arena_bytes(engine.device_memory_size_v2 for engine in engines.values())
        self._arena = self._cuda.device_memory(size)
        self._spare = Spare(self._cuda)
        self._parts = {
            part: Loaded(trt, engine, (self._arena, size), self._spare, cuda_graph and part == GRAPHED)
            for part, engine in engines.items()
        }

    def run(self, part: str, inputs: Mapping[str, np.ndarray | Any], keep: Collection[str] = ()) -> Values:
        """See `Backend.run`; what is kept are `OnDevice` values, inputs of later runs."""
        return self._parts[part].run(inputs, keep)

    def close(self) -> None:
        """Free everything on the device."""
        for part in self._parts.values():
            part.close()
        self._parts.clear()
        self._spare.close()
        self._cuda.free(self._arena)
        self._cuda.close()


class Spare:
    """Device memory of kept outputs: it is used again, by size, when nobody holds the output any more."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self._free: dict[int, list[int]] = defaultdict(list)
        self._all: list[int] = []

    def take(self, size: int) -> OnDevice:
        """Memory of `size` bytes, used before or new."""
        free = self._free[size]
        if not free:
            free.append(self.cuda.device_memory(size))
            self._all.append(free[-1])
        value = OnDevice(free.pop(), size)
        weakref.finalize(value, free.append, value.address)
        return value

    def close(self) -> None:
        """Free all of it; kept outputs must not be used any more."""
        for address in self._all:
            self.cuda.free(address)
        self._all.clear()
        self._free.clear()


class Loaded:
    """An engine with its context and buffers, which are made at the first run and again when a shape changes."""

    def __init__(self, trt: ModuleType, engine: Any, arena: tuple[int, int], spare: Spare, graphed: bool) -> None:
        self._trt, self._cuda, self._engine = trt, spare.cuda, engine
        self._context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self._context.set_device_memory(*arena)
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        self._outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        self._host: dict[str, np.ndarray] = {}
        self._device: dict[str, int] = {}
        self._spare, self._graphed, self._graph, self._runs = spare, graphed, None, 0

    def run(self, inputs: Mapping[str, Any], keep: Collection[str]) -> Values:
        """See `TensorRTBackend.run`."""
        for name, value in inputs.items():
            if isinstance(value, OnDevice):
                self._context.set_tensor_address(name, value.address)
            else:
                self._take(name, value)
        kept = {name: self._spare.take(self._bytes(name)) for name in keep}
        for name in self._outputs:
            self._context.set_tensor_address(name, kept[name].address if name in kept else self._buffer(name))
        sent = [name for name, value in inputs.items() if not isinstance(value, OnDevice)]
        received = [name for name in self._outputs if name not in kept]
        self._launch(sent, received)
        return {name: kept[name] if name in kept else self._host[name].copy() for name in self._outputs}

    def close(self) -> None:
        """Free the buffers; the engine and its context go with this object."""
        self._forget_graph()
        for array in self._host.values():
            self._cuda.free_pinned(array)
        for address in self._device.values():
            self._cuda.free(address)
        self._host, self._device, self._context, self._engine = {}, {}, None, None

    def _forget_graph(self) -> None:
        """What was recorded holds for its shapes only."""
        if self._graph is not None:
            self._cuda.discard(self._graph)
        self._runs, self._graph = 0, None

    def _take(self, name: str, value: np.ndarray) -> None:
        """Put an input into its pinned buffer; a new shape is told to the context."""
        if tuple(self._context.get_tensor_shape(name)) != value.shape:
            if not self._context.set_input_shape(name, value.shape):
                raise InputError(f"{name} of {list(value.shape)}: the engine was not built for it; build it again")
            self._forget_graph()
        address = self._buffer(name, value.shape)
        np.copyto(self._host[name], value)
        self._context.set_tensor_address(name, address)

    def _buffer(self, name: str, shape: tuple[int, ...] | None = None) -> int:
        """Address of the tensor's device buffer; it and the pinned one are made anew where the shape differs."""
        shape = tuple(self._context.get_tensor_shape(name)) if shape is None else shape
        host = self._host.get(name)
        if host is None or host.shape != shape:
            if host is not None:
                self._cuda.free_pinned(host)
                self._cuda.free(self._device[name])
            self._host[name] = self._cuda.pinned_array(shape, self._dtype(name))
            self._device[name] = self._cuda.device_memory(self._host[name].nbytes)
        return self._device[name]

    def _bytes(self, name: str) -> int:
        """Size of a kept output. Its numbers may be of a kind that numpy lacks (bf16), so the engine says it."""
        count = int(np.prod(tuple(self._context.get_tensor_shape(name))))
        return count * int(self._engine.get_tensor_dtype(name).itemsize)

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))

    def _launch(self, sent: list[str], received: list[str]) -> None:
        if self._graphed and self._runs and self._graph is None:  # TensorRT wants one plain run before a capture
            self._graph = self._cuda.captured(lambda: self._enqueue(sent, received))
        if self._graph is not None:
            self._cuda.launch(self._graph)
        else:
            self._enqueue(sent, received)
        self._cuda.synchronise()
        self._runs += 1

    def _enqueue(self, sent: list[str], received: list[str]) -> None:
        for name in sent:
            self._cuda.to_device(self._device[name], self._host[name])
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError("TensorRT could not enqueue the engine; its log above says why")
        for name in received:
            self._cuda.to_host(self._host[name], self._device[name])


def _engine(runtime: Any, path: Path) -> Any:
    """The plan deserialised from mapped memory: on a Jetson a copy of it would come from the GPU's own pool."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as plan:
        engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise InputError(f"{path}: TensorRT cannot read it (its log above says why); build the engines again")
    return engine


def _imported() -> ModuleType:
    try:
        import tensorrt
    except ImportError:
        raise MissingDependency(
            "backend=tensorrt: no Python module tensorrt; JetPack brings it (python3-libnvinfer), or use"
            " backend=onnxruntime"
        ) from None
    return tensorrt
