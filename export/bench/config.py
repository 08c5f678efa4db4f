"""The keys of `worldmodel export bench`, what they refuse, and which entries they make."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from worldmodel.errors import InputError
from worldmodel.export.bench.measurement import TORCH, BackendName, BenchRequest
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.measure.machine import cores
from worldmodel.settings import Count, Natural, Settings, Text


@dataclass(frozen=True)
class BenchConfig(Settings):
    """What to time, how often, and where to put the figures.

    Attributes:
        artifacts: folders that `worldmodel export` wrote: variants of one model at one size, such as fp32 and int8.
        backends: eager and compile run the torch modules that were exported, once (they need torch and the checkpoint);
            onnxruntime and tensorrt run each artifact.
        device: of torch and onnxruntime. Torch computes in fp32 on a CPU and in fp16 on a GPU.
        threads: of torch and onnxruntime on the CPU; by default all cores.
        warmup: runs of each part that are not counted.
        iterations: counted runs of each part in a round; a whole prediction runs at most three times in a round.
        rounds: how often all entries take turns, each time in a new process and the other way round.
        parts: of the artifact, such as [step]; by default all that a prediction runs.
        steps: network evaluations a prediction; by default the first artifact's.
        chunks: of a rollout through frames and one through latents; 0 leaves them out.
        end_to_end: time whole predictions as well.
        checkpoint, transformer: for torch, those of the export; by default where they were then.
        prompt_embeds, negative_prompt_embeds: for torch, those of the export.
        out: folder of bench.json and bench.md; by default the first artifact's.
    """

    artifacts: tuple[Text, ...]
    backends: tuple[BackendName, ...] = ("eager", "onnxruntime")
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count | None = None
    warmup: Natural = 3
    iterations: Count = 10
    rounds: Count = 3
    parts: tuple[Text, ...] = ()
    steps: Count | None = None
    chunks: Natural = 2
    end_to_end: bool = True
    checkpoint: Text | None = None
    prompt_embeds: Text | None = None
    negative_prompt_embeds: Text | None = None
    out: Text | None = None
    transformer: Text | None = None


@dataclass(frozen=True)
class BenchEntry:
    """A row of the tables: an artifact on a backend. Torch is given the first artifact."""

    name: str
    backend: BackendName
    artifact: Artifact
    request: BenchRequest

    @property
    def precision(self) -> tuple[str, str, str]:
        """Of encoder, step and decoder."""
        if self.backend in TORCH:
            return ("fp32" if self.request.device == "cpu" else "fp16",) * 3  # type: ignore[return-value]
        return tuple(asdict(self.artifact.manifest.precision).values())  # type: ignore[return-value]


def check(config: BenchConfig) -> None:
    """Raise `InputError` for artifacts, backends and a place that can be refused before anything is opened."""
    for key in ("artifacts", "backends"):
        values = getattr(config, key)
        if not values or len(set(values)) < len(values):
            problem = "is given twice" if values else "is empty"
            raise InputError(f"{key}=[{','.join(values)}]: {problem}; give one or more different ones")
    place = Path(config.out) if config.out is not None else None
    if place is not None and place.exists() and not place.is_dir():
        raise InputError(f"out={place}: is a file; choose a folder")


def open_variants(config: BenchConfig) -> list[Artifact]:
    """The artifacts, every file checked.

    Raises:
        InputError: one that cannot be used, that is no variant of the first, or lacks a part or a number of steps.
    """
    artifacts = [Artifact.open(folder) for folder in config.artifacts]
    first = artifacts[0]
    for artifact in artifacts:
        if model_of(artifact.manifest) != model_of(first.manifest):
            raise InputError(
                f"{artifact.folder}: another model, size or prompt than {first.folder}; bench variants of one export"
            )
        artifact.manifest.schedule(config.steps or first.manifest.default_steps)
    known = {part: None for artifact in artifacts for part in artifact.parts}
    for part in config.parts:
        if part not in known:
            raise InputError(f"parts=[{part}]: choose of {', '.join(known)}")
    for artifact in artifacts:
        artifact.onnx_files(artifact.parts)
    return artifacts


def model_of(manifest: Manifest) -> tuple[object, ...]:
    """What variants have in common: the weights and prompts, and what is asked of them."""
    checkpoint = manifest.checkpoint
    hashes = checkpoint.transformer_sha256, checkpoint.vae_sha256, checkpoint.prompt_sha256
    return manifest.family, hashes, manifest.video_shape, manifest.guidance, manifest.frame_rate


def entries_of(config: BenchConfig, artifacts: list[Artifact]) -> list[BenchEntry]:
    """The rows, by backend as they were named and then by artifact."""
    threads, steps = config.threads or cores(), config.steps or artifacts[0].manifest.default_steps
    labels, entries = labels_of(artifacts), []
    for backend in config.backends:
        for artifact, label in zip(artifacts, labels, strict=True):
            name = f"{backend} {label}"
            if backend in TORCH:
                name = f"{backend} {'fp32' if config.device == 'cpu' else 'fp16'}"
            request = BenchRequest(
                str(artifact.folder),
                backend,
                config.device,
                threads,
                tuple(part for part in artifact.parts if not config.parts or part in config.parts),
                steps,
                config.warmup,
                config.iterations,
                config.chunks,
                config.end_to_end,
                config.checkpoint,
                config.prompt_embeds,
                config.negative_prompt_embeds,
                config.transformer,
            )
            entries.append(BenchEntry(name, backend, artifact, request))
            if backend in TORCH:
                break
    return entries


def labels_of(artifacts: list[Artifact]) -> list[str]:
    """Short and different: the step's precision, or the folder's name, or the whole folder."""
    choices: list[list[str]] = [
        [artifact.manifest.precision.step for artifact in artifacts],
        [artifact.folder.resolve().name for artifact in artifacts],
        [str(artifact.folder) for artifact in artifacts],
    ]
    return next(labels for labels in choices if len(set(labels)) == len(labels))
