"""`worldmodel export verify`: does the artifact compute what its pipeline computes?"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import NAME
from worldmodel.files import file_sha256
from worldmodel.settings import Count, Settings, Text

if TYPE_CHECKING:
    from worldmodel.export.verify.comparison import Comparison


@dataclass(frozen=True)
class VerifyConfig(Settings):
    """Which artifact, with which frames and in what.

    Attributes:
        artifact: folder that `worldmodel export` wrote; parity.json and parity.md are written into it.
        source: a drive whose clips are predicted, as `source` of predict; by default a moving texture.
        samples: batches of clips, as far as the drive has them.
        steps: of the artifact's numbers of steps, those to compare; by default all.
        checkpoint, transformer: the exported ones, where they are no longer where they were.
        prompt_embeds, negative_prompt_embeds: those of the export.
        backend: what runs the graphs; tensorrt needs `worldmodel export build` on this machine first.
        device: of onnxruntime.
        threads: of onnxruntime on the CPU; by default one a core.
    """

    artifact: Text
    source: Text | None = None
    samples: Count = 1
    steps: tuple[Count, ...] = ()
    checkpoint: Text | None = None
    prompt_embeds: Text | None = None
    negative_prompt_embeds: Text | None = None
    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count | None = None
    transformer: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.steps)) != len(self.steps):
            raise InputError(f"steps={list(self.steps)}: name each number of steps once")


def verify(config: VerifyConfig) -> "list[Comparison]":
    """Print a table, write it with all figures into the artifact; the last line is JSON.

    Raises:
        InputError: an artifact, checkpoint, prompt or drive that cannot be used, or a difference above what the
            precision is allowed; the report is written then, too.
    """
    from worldmodel.export.reference_pipeline import OriginalConfig  # torch, which the keys above do not need
    from worldmodel.export.verify.parity import compare, references_of
    from worldmodel.export.verify.report import report

    artifact = Artifact.open(config.artifact)
    artifact.onnx_files(artifact.manifest.parts)  # harmed files are refused before the pipeline runs
    steps = config.steps or tuple(int(count) for count in artifact.manifest.schedules)
    for count in steps:
        artifact.manifest.schedule(count)
    original = OriginalConfig(
        config.checkpoint, config.prompt_embeds, config.negative_prompt_embeds, config.transformer
    )
    references = references_of(artifact, original, config.source, config.samples, steps)
    of_onnxruntime: dict[str, Any] = {"device": config.device, "threads": config.threads}
    options = {} if config.backend == "tensorrt" else of_onnxruntime
    comparisons, pixels = compare(artifact, config.backend, options, references, steps)
    settings = _settings(config, artifact) | {"samples": len(references), "pixels_sha256": pixels}
    report(artifact.folder, settings, comparisons)
    failed = [comparison for comparison in comparisons if not comparison.passed]
    if failed:
        more = f" (and {len(failed) - 1} more, see its parity.md)" if len(failed) > 1 else ""
        raise InputError(
            f"{config.artifact} does not compute what its pipeline does: {failed[0]}{more};"
            " export with a wider precision, or with calibration=DRIVE"
        )
    return comparisons


def _settings(config: VerifyConfig, artifact: Artifact) -> dict[str, Any]:
    from worldmodel.export.verify.parity import SEED
    from worldmodel.measure.machine import versions

    manifest = artifact.manifest
    return {
        "artifact": config.artifact,
        "manifest_sha256": file_sha256(artifact.folder / NAME),
        "checkpoint": config.checkpoint or manifest.checkpoint.name,
        "precision": asdict(manifest.precision),
        "guidance": manifest.guidance,
        "source": config.source or f"moving texture, seed {SEED}",
        "cameras": manifest.cameras,
        "backend": config.backend,
        "device": config.device if config.backend == "onnxruntime" else "cuda",
        "versions": versions() | manifest.versions,
    }
