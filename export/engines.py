"""`worldmodel export build`: TensorRT engines of an artifact, on the machine that will run them.

One engine after the other, each in a process of its own (`engine_process.py`), into
`engines/<sm>-trt<version>/<part>.plan` with `build.json` beside them (read by `runtime/backends/engine_files.py`).
What is there already for this GPU, this TensorRT and these ONNX files is kept; what was built on another GPU is never
touched or used. Needs TensorRT's Python module and cuda-python, neither torch nor Hydra.
"""

import re
from dataclasses import replace
from pathlib import Path

from worldmodel.errors import InputError
from worldmodel.export.check.parsers import parser_of
from worldmodel.export.engine_process import BuildRequest, Built, Shapes, build_apart, machine_apart
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.engine_files import NAME, Build, Machine, source_sha256
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.files import file_sha256, written_whole

GIB = 2**30
TIMING_CACHE = "timing.cache"
MODULE = "tensorrt"


def build_part(request: BuildRequest) -> Built:
    """One plan, whole or not at all, and the timing cache with it."""
    with written_whole(request.plan) as partial:
        return build_apart(replace(request, plan=str(partial.resolve())))


def this_machine() -> Machine:
    """GPU and TensorRT, asked in a child process so that this one holds none of the GPU's memory.

    Raises:
        InputError: TensorRT, cuda-python or a GPU is missing, or TensorRT is older than 10.3.
    """
    machine = Machine(**machine_apart(MODULE))
    parser_of(machine.tensorrt)
    return machine


def engine_folder(artifact: Path, machine: Machine) -> tuple[Path, Build]:
    """Where this machine's plans go, with what is there already.

    Plans of a GPU of the same compute capability but another name (AGX Orin and Orin NX) lie in a folder of their own.
    """
    sm = f"sm{machine.compute_capability.replace('.', '')}-trt{machine.tensorrt}"
    slug = re.sub(r"[^a-z0-9]+", "-", machine.gpu.lower()).strip("-")
    for name in (sm, f"{sm}-{slug}"):
        folder = artifact / "engines" / name
        if not (folder / NAME).is_file():
            return folder, Build(machine.gpu, machine.compute_capability, machine.tensorrt, {}, {}, {})
        there = Build.read(folder / NAME)
        if there.machine == machine:
            return folder, there
    raise InputError(f"{folder}: holds engines for {there.machine}, this is {machine}; remove that folder")


def is_current(artifact: Artifact, folder: Path, done: Build, part: str) -> bool:
    """Whether the part's plan was built from the artifact's ONNX file as it is now, and is whole."""
    plan = folder / f"{part}.plan"
    return (
        done.sources.get(part) == source_sha256(artifact, part)
        and plan.is_file()
        and done.files.get(plan.name) == file_sha256(plan)
    )


def with_part(done: Build, artifact: Artifact, part: str, plan: Path, seconds: float) -> Build:
    """`done` with one plan more."""
    return replace(
        done,
        files=done.files | {plan.name: file_sha256(plan)},
        sources=done.sources | {part: source_sha256(artifact, part)},
        seconds=done.seconds | {part: seconds},
    )


def chosen_parts(artifact: Artifact, wanted: tuple[str, ...], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """`wanted`, or `otherwise` where none is named; `InputError` for one that the artifact does not have."""
    there = artifact.manifest.parts
    for part in wanted:
        if part not in there:
            raise InputError(f"parts=[{part}]: choose of {', '.join(there)}")
    return wanted or otherwise


def profile(manifest: Manifest, part: str) -> Shapes:
    """Shapes of inputs with free axes: the artifact's own size, from one camera to all of them."""
    shapes: Shapes = {}
    for port in manifest.parts[part].inputs:
        if all(isinstance(axis, int) for axis in port.shape):
            continue
        own = manifest.video_shape if port.dtype == "uint8" else (manifest.cameras, *manifest.latents)
        if len(own) != len(port.shape):
            raise InputError(f"{part}: input {port.name} has free axes {list(port.shape)}; export with dynamic=false")
        shapes[port.name] = ((1, *own[1:]), own, own)
    return shapes
