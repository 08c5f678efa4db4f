"""One measurement: what is asked of a process of its own, and what it answers in a line of JSON."""

from dataclasses import asdict, dataclass
from typing import Literal

from worldmodel.export.subprocess_json import Child
from worldmodel.settings import from_document

WORKER = Child(
    "worldmodel.export.bench.worker",
    "its process",
    killed="close other programs, or export a smaller size",
    crashed="try another version of the backend",
    failed="bench again, and report it if it stays",
)
TORCH = ("eager", "compile")

BackendName = Literal["eager", "compile", "onnxruntime", "tensorrt"]


@dataclass(frozen=True)
class BenchRequest:
    """What a worker times; the keys are those of `BenchConfig`, `parts` those of this artifact."""

    artifact: str
    backend: BackendName
    device: Literal["cpu", "cuda"]
    threads: int
    parts: tuple[str, ...]
    steps: int
    warmup: int
    iterations: int
    chunks: int
    end_to_end: bool
    checkpoint: str | None = None
    prompt_embeds: str | None = None
    negative_prompt_embeds: str | None = None
    transformer: str | None = None


@dataclass(frozen=True)
class RolloutTime:
    """Seconds of a rollout, and how often the encoder ran in it."""

    seconds: float
    encoder_calls: int


@dataclass(frozen=True)
class Memory:
    """MB of 10^6 bytes; None where the system does not tell.

    Attributes:
        before: what the process held before it loaded a backend.
        loading, working: the most that it held until everything had run once, and since.
        gpu: the most that torch allocated on a GPU.
    """

    before: float | None
    loading: float | None
    working: float | None
    gpu: float | None


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes:
        load_seconds: until the backend was open; first_seconds: then until each part had run once.
        parts, predictions: seconds of every counted run.
        rollouts: by what feeds them, "frames" and "latents".
        versions: of what computed; `device`: the GPU's name where torch used one.
    """

    load_seconds: float
    first_seconds: float
    parts: dict[str, tuple[float, ...]]
    predictions: tuple[float, ...]
    rollouts: dict[str, RolloutTime]
    memory: Memory
    versions: dict[str, str]
    device: str | None


def measured_apart(request: BenchRequest) -> Measured:
    """Measure in a new process.

    Raises:
        InputError: what the worker refused, or how its process ended.
    """
    return from_document(Measured, WORKER.answer(asdict(request)), "the worker's answer", "report this")
