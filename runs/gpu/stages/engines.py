"""ONNX Runtime on CUDA and TensorRT, where this machine has them; else a line that says what is absent."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from stage import Lines, Settings, begin

TENSORRT = ("tensorrt", "tensorrt_rtx")
CUDA = "CUDAExecutionProvider"


def work(lines: Lines, settings: Settings) -> None:
    """Both."""
    with lines.guard("ONNX Runtime"):
        if find_spec("onnxruntime") is None:
            lines.write("ONNX Runtime", absent="onnxruntime is not installed")
        else:
            providers = list(import_module("onnxruntime").get_available_providers())
            said = {} if CUDA in providers else {"absent": f"no {CUDA} in this build of onnxruntime"}
            lines.write("ONNX Runtime", version=installed("onnxruntime"), providers=providers, **said)
    with lines.guard("TensorRT"):
        there = [name for name in TENSORRT if find_spec(name) is not None]
        said = {"versions": {name: installed(name) for name in there}} if there else {"absent": "no TensorRT wheel"}
        lines.write("TensorRT", **said)


def installed(package: str) -> str:
    """Its version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    begin(work)
