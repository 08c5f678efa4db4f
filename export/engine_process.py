"""One engine, built in a process of its own: a builder that crashes or runs out of memory takes nothing else along.

The same few lines build with JetPack's TensorRT (10.3 and newer) and with TensorRT-RTX. The network is strongly typed:
the ONNX file says every type, there are no precision flags (TensorRT 11 has removed them). No torch, no Hydra.

    python -m worldmodel.export.engine_process '{"module": "tensorrt", "onnx": ..., "plan": ...}'
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from worldmodel.errors import InputError, UserError
from worldmodel.export.subprocess_json import Child
from worldmodel.settings import from_document

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Least, best and largest shape of inputs with free axes, by name."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        module: Python module of the builder, `tensorrt` or `tensorrt_rtx_bindings`; only the latter builds without a
            GPU and for a `compute_capability` other than this machine's.
        onnx, plan: files.
        workspace_bytes: limit of the scratch memory that kernels may use, None for the builder's own.
        timing_cache: file with the measured kernels of earlier builds, read and written.
        level: how hard the builder searches, 0 to 5.
    """

    module: str
    onnx: str
    plan: str
    workspace_bytes: int | None = None
    timing_cache: str | None = None
    compute_capability: str | None = None
    shapes: Shapes = field(default_factory=dict)
    level: int = 3


@dataclass(frozen=True)
class Built:
    """A finished engine: seconds of parsing and building, its size, the peak memory of the process."""

    version: str
    seconds: float
    bytes: int
    peak_memory_mb: float


class Refused(Exception):
    """The parser or builder said no; its words."""


BUILDER = Child(
    "worldmodel.export.engine_process",
    "the builder",
    killed="lower workspace_gb and close other programs",
    crashed="try another TensorRT, or report it to NVIDIA",
    failed="build again, and report it if it stays",
)


def build_apart(request: BuildRequest) -> Built:
    """Build in a child process.

    Raises:
        InputError: what the parser or builder said, or how its process ended.
    """
    return Built(**_answer(asdict(request), Path(request.onnx).name))


def machine_apart(module: str) -> dict[str, str]:
    """`machine` in a child process, since it would keep hold of the GPU; `InputError` as `build_apart`."""
    return _answer({"machine": module}, "export build")


def _answer(question: Mapping[str, object], what: str) -> dict[str, Any]:
    try:
        return BUILDER.answer(question)
    except UserError as refusal:
        raise InputError(f"{what}: {refusal}") from None


def main(arguments: list[str]) -> None:
    """The child: build, or say which machine this is; the last line on stdout is JSON."""
    content = json.loads(arguments[0])
    try:
        answer = machine(content["machine"]) if "machine" in content else asdict(built(request_of(content)))
    except (Refused, UserError) as refusal:
        answer = {"refused": " ".join(str(refusal).split())}
    print(json.dumps(answer), flush=True)


def request_of(content: Mapping[str, object]) -> BuildRequest:
    """A request as JSON gave it, with tuples for lists."""
    return from_document(BuildRequest, content, "order", "report this")


def machine(module: str) -> dict[str, str]:
    """Name and compute capability of this machine's GPU, as `runtime.backends.engine_files.Machine` has them."""
    from worldmodel.export.runtime.backends.cuda_memory import Cuda

    version = builder_module(module).__version__
    gpu, compute_capability = Cuda().gpu()
    return {"gpu": gpu, "compute_capability": compute_capability, "tensorrt": version}


def builder_module(name: str) -> ModuleType:
    """`InputError` where TensorRT's Python module is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"no Python module {name} here ({error}): engines are built on the vehicle, or on a PC with TensorRT;"
            " on a Jetson JetPack brings it (apt install python3-libnvinfer), in a virtual environment use"
            " --system-site-packages"
        ) from None


def built(request: BuildRequest) -> Built:
    """Build in this process and write the plan.

    Raises:
        Refused: with the words of the parser, which name the operator, or of the builder.
        InputError: no such module.
    """
    trt = builder_module(request.module)
    started, logger = time.monotonic(), listening_logger(trt)
    # All four stay in variables: the parser keeps no hold on the network, and a network that is gone is a crash.
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(request.onnx):
        raise Refused(parse_errors(parser) or first(logger.errors) or "the parser refused it without a word")
    config = configured(trt, builder, request)
    cache = with_timing_cache(config, request.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused(first(logger.errors) or "the builder refused it without a word")
    Path(request.plan).write_bytes(memoryview(plan))
    if cache is not None and request.timing_cache is not None:
        Path(request.timing_cache).write_bytes(memoryview(config.get_timing_cache().serialize()))
    size = Path(request.plan).stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Built(trt.__version__, round(time.monotonic() - started, 2), size, round(peak, 1))


def configured(trt: ModuleType, builder: Any, request: BuildRequest) -> Any:
    """The builder's configuration; what a builder lacks of it (TensorRT-RTX) is not set."""
    config = builder.create_builder_config()
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if request.compute_capability is not None:
        config.num_compute_capabilities = 1
        name = f"SM{request.compute_capability.replace('.', '')}"
        config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)
    else:
        config.builder_optimization_level = request.level
    if request.shapes:
        profile = builder.create_optimization_profile()
        for name, (least, best, largest) in request.shapes.items():
            profile.set_shape(name, tuple(least), tuple(best), tuple(largest))
        config.add_optimization_profile(profile)
    return config


def with_timing_cache(config: Any, path: str | None) -> Any:
    """The cache now in use, None without one."""
    if path is None:
        return None
    content = Path(path).read_bytes() if Path(path).is_file() else b""
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, False):  # of another GPU or version: begin a new one
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def listening_logger(trt: ModuleType) -> Any:
    """A logger that keeps errors in `errors` and prints them."""

    class Listening(trt.ILogger):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
                print(message, file=sys.stderr)

    return Listening()


def parse_errors(parser: Any) -> str:
    """What the parser said about the first node that it refused, operator and node named."""
    errors = []
    for place in range(parser.num_errors):
        error = parser.get_error(place)
        operator, node = (getattr(error, name, lambda: "")() for name in ("node_operator", "node_name"))
        where = f"operator {operator} at {node or 'a node without name'}: " if operator else ""
        errors.append(where + " ".join(error.desc().split()))
    return first(errors)


def first(errors: list[str]) -> str:
    """The first of these, and how many more there are."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0][:300]}{more}" if errors else ""


if __name__ == "__main__":
    main(sys.argv[1:])
