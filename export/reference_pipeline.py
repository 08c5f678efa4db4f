"""The pipeline that an artifact was exported from: what the artifact is compared with."""

from dataclasses import dataclass, replace

from worldmodel.errors import InputError
from worldmodel.export.config import ExportConfig
from worldmodel.export.graphs.prompt import prompt_hash
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.source import WITH_TRANSFORMER, ExportSource, open_export_source
from worldmodel.measure.hashes import weights_hash
from worldmodel.settings import Settings, Text


@dataclass(frozen=True)
class OriginalConfig(Settings):
    """Where the original is, as far as the manifest cannot say.

    Attributes:
        checkpoint, transformer: the exported ones; by default where they were at export.
        prompt_embeds, negative_prompt_embeds: those of the export.
    """

    checkpoint: Text | None = None
    prompt_embeds: Text | None = None
    negative_prompt_embeds: Text | None = None
    transformer: Text | None = None


def open_original(artifact: Artifact, config: OriginalConfig) -> ExportSource:
    """The pipeline with the artifact's sizes and prompts, float32 on the CPU.

    Raises:
        InputError: a checkpoint that does not load, or whose weights or prompts are not those that were exported.
    """
    manifest = artifact.manifest
    source = open_export_source(_as_exported(manifest, config))
    pipeline, exported = source.pipeline, manifest.checkpoint
    for key, part in (("transformer", pipeline.transformer), ("vae", pipeline.vae)):
        if weights_hash(part) != getattr(exported, f"{key}_sha256"):
            raise InputError(
                f"checkpoint={source.name}: its {key} is not the one that {artifact.folder} was exported from;"
                " give the checkpoint of the export, or export again"
            )
    if prompt_hash(source.prompts.prompts) != exported.prompt_sha256:
        raise InputError(
            f"{artifact.folder}: another prompt is baked in; give the prompt_embeds and negative_prompt_embeds of the"
            " export"
        )
    for part in (pipeline.transformer, pipeline.vae):
        part.float()
    return source


def _as_exported(manifest: Manifest, config: OriginalConfig) -> ExportConfig:
    """The export's keys as far as they choose and shape the pipeline."""
    shaped = ExportConfig(
        frames=manifest.frames,
        height=manifest.height,
        width=manifest.width,
        cameras=manifest.cameras,
        frame_rate=manifest.frame_rate,
        guidance=manifest.guidance,
        precision=manifest.precision.step,
        dynamic=manifest.dynamic,
        conventions=manifest.conventions,
        prompt_embeds=config.prompt_embeds,
        negative_prompt_embeds=config.negative_prompt_embeds,
    )
    name = config.checkpoint or manifest.checkpoint.name
    base, _, transformer = name.partition(WITH_TRANSFORMER)
    return replace(shaped, checkpoint=base, transformer=config.transformer or transformer or None)
