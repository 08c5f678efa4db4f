"""NVIDIA's own parser and builder on a machine without a GPU: TensorRT-RTX, where its wheels are installed.

It compiles ahead of time for compute capabilities 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1, neither Orin's 8.7 nor Thor's
11.0, so that a near one stands in (`Target.stand_in`) and its plans are thrown away. It finds unsupported operators,
mixed types, wrong shapes, and numbers that a chip does not have.
"""

import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from worldmodel.errors import MissingDependency
from worldmodel.export.engine_process import BuildRequest, Built, Shapes, build_apart

MODULE = "tensorrt_rtx_bindings"
INSTALL = 'pip install "worldmodel[trt-check]" (Linux on x86-64)'


def installed() -> str | None:
    """Version of TensorRT-RTX, None where it is not installed."""
    if find_spec(MODULE) is None:
        return None
    names = ("tensorrt-rtx-cu12-bindings", "tensorrt-rtx-cu13-bindings")
    packages = (package for package in metadata.distributions() if package.name.replace("_", "-").lower() in names)
    versions = [package.version for package in packages]
    return versions[0] if versions else "of an unknown version"


def build(path: Path, compute_capability: str, shapes: Shapes | None = None) -> Built:
    """Parse and build this ONNX file in a process of its own; the plan is not kept.

    Args:
        compute_capability: for example "8.6".
        shapes: least, best and largest shape of each input with free axes.

    Raises:
        InputError: not installed, or refused, with the operator's name where NVIDIA's parser says one.
    """
    if installed() is None:
        raise MissingDependency(f"TensorRT-RTX is not installed, which parses and builds without a GPU: {INSTALL}")
    with tempfile.TemporaryDirectory() as folder:
        request = BuildRequest(
            MODULE,
            str(path.resolve()),
            str(Path(folder) / "unused.plan"),
            compute_capability=compute_capability,
            shapes=shapes or {},
        )
        return build_apart(request)
