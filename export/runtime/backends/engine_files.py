"""The engines of an artifact: `engines/<sm>-trt<version>/<part>.plan` with their `build.json`, and which fit a machine.

A plan runs only on the GPU and with the TensorRT that it was built with, so that everything about it is checked before
TensorRT sees it. Needs the standard library only.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact, check_sha256
from worldmodel.files import written_whole
from worldmodel.settings import from_document

NAME = "build.json"
BUILD = "run `worldmodel export build` on this machine"
ALIGNED = 256  # bytes; TensorRT asks this of the memory that contexts share


@dataclass(frozen=True)
class Machine:
    """What a plan is tied to: the GPU's name, its compute capability ("8.7") and TensorRT's version ("10.3.0")."""

    gpu: str
    compute_capability: str
    tensorrt: str

    def __str__(self) -> str:
        return f"{self.gpu} (compute capability {self.compute_capability}) with TensorRT {self.tensorrt}"


@dataclass(frozen=True)
class Build:
    """`build.json`.

    Attributes:
        gpu, compute_capability, tensorrt: see `Machine`.
        files: sha256 of each plan by its name, `<part>.plan`.
        sources: for each part the sha256 of the ONNX it was built from, see `source_sha256`.
        seconds: how long each part took.
    """

    gpu: str
    compute_capability: str
    tensorrt: str
    files: dict[str, str]
    sources: dict[str, str]
    seconds: dict[str, float]

    @property
    def machine(self) -> Machine:
        """What it was built on."""
        return Machine(self.gpu, self.compute_capability, self.tensorrt)

    @staticmethod
    def read(path: Path) -> "Build":
        """`InputError` where the file is not as annotated here."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{path}: not readable as JSON; {BUILD}") from None
        return from_document(Build, content, str(path), BUILD)

    def write(self, path: Path) -> None:
        """Write whole or not at all."""
        with written_whole(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def source_sha256(artifact: Artifact, part: str) -> str:
    """What a plan of `part` is built from: the sha256 of its ONNX file, and where the weights lie beside that, of
    both digests after each other, since the graph's file stays the same when weights are trained further."""
    import hashlib

    digests = [artifact.manifest.files[name] for name in artifact.manifest.files_of(part)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def plans_for(artifact: Artifact, machine: Machine, parts: Iterable[str]) -> dict[str, Path]:
    """The plan of each part for this machine, each checked.

    Raises:
        InputError: no engines, only engines of another GPU or TensorRT, built from other ONNX files, missing or
            altered.
    """
    folder, build = _fitting(artifact, machine)
    plans = {}
    for part in parts:
        name = f"{part}.plan"
        if name not in build.files or part not in build.sources:
            raise InputError(f"{folder}: holds no engine of the {part}; {BUILD}")
        if build.sources[part] != source_sha256(artifact, part):
            raise InputError(f"{folder / name}: built from another {part} than this artifact's; {BUILD}")
        check_sha256(folder / name, build.files[name], BUILD)
        plans[part] = folder / name
    return plans


def arena_bytes(sizes: Iterable[int]) -> int:
    """Device memory that engines running one after another share: the largest need, rounded up to 256 bytes."""
    return -(-max(sizes, default=0) // ALIGNED) * ALIGNED


def _fitting(artifact: Artifact, machine: Machine) -> tuple[Path, Build]:
    folders = sorted(path.parent for path in (artifact.folder / "engines").glob(f"*/{NAME}"))
    builds = {folder: Build.read(folder / NAME) for folder in folders}
    for folder, build in builds.items():
        if build.machine == machine:
            return folder, build
    if not builds:
        raise InputError(f"{artifact.folder}: holds no TensorRT engines; {BUILD}")
    there = " and ".join(str(build.machine) for build in builds.values())
    raise InputError(f"{artifact.folder}: its engines are for {there}, this is {machine}; {BUILD}")
