"""What is exported: a pipeline, the size of its chunks, and the prompts that are baked in."""

from dataclasses import dataclass

import torch

from worldmodel.errors import InputError
from worldmodel.export.config import ExportConfig
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.export.precision import FLOATS
from worldmodel.flow.guidance import Prompt
from worldmodel.models.checkpoint import random_weights, trained_chunk
from worldmodel.models.families import Family, family_of
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.open import open_pipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.prompt_files import read_prompts

WITH_TRANSFORMER = " transformer="
"""Between a checkpoint and the transformer that took its own one's place, in the name of a source."""


@dataclass(frozen=True)
class ExportSource:
    """A pipeline on the CPU with the name under which the manifest knows it."""

    name: str
    pipeline: FlowFramesPipeline
    chunk: Chunk
    prompts: BakedPrompts

    @property
    def family(self) -> Family:
        """The record of the pipeline's networks."""
        return family_of(self.pipeline.backbone)


def open_export_source(config: ExportConfig) -> ExportSource:
    """The pipeline that the configuration names, or one of random weights.

    Raises:
        InputError: a checkpoint that does not load, a size without a latent, or a prompt that does not fit.
    """
    name = f"random {config.family} {config.sizes}" if config.weights == "random" else config.checkpoint
    pipeline = _opened(name, config)
    frames, (height, width) = trained_chunk(name, family_of(pipeline.backbone))
    chunk = Chunk(
        config.frames or frames,
        config.height or height,
        config.width or width,
        config.cameras,
        config.frame_rate,
        config.dynamic,
        pipeline.network_rate(config.frame_rate),
    )
    pipeline.backbone.geometry.check(chunk.frames, chunk.height, chunk.width)
    for part in (pipeline.vae, pipeline.transformer):
        part.requires_grad_(False).eval()
    if config.transformer is not None:
        name += f"{WITH_TRANSFORMER}{config.transformer}"
    return ExportSource(name, pipeline, chunk, baked_prompts(pipeline, config))


def baked_prompts(pipeline: FlowFramesPipeline, config: ExportConfig) -> BakedPrompts:
    """The prompts as the pipeline would use them with these embeddings and this guidance."""
    backbone = pipeline.backbone
    empty = Prompt(*backbone.empty_prompt())
    scale = backbone.default_guidance if config.guidance is None else config.guidance
    prompt, negative = read_prompts(config.prompt_embeds, config.negative_prompt_embeds, empty.embeds_BLD)
    if negative is None:  # where the conventions have one
        _, negative = pipeline.guided_prompts(backbone, 1, scale)
    return BakedPrompts.of(empty, prompt, negative, scale)


def _opened(checkpoint: str, config: ExportConfig) -> FlowFramesPipeline:
    random, dtype = random_weights(checkpoint), None
    if random is not None and random.sizes == "real":
        # In float32 they would take twice the memory, and random weights have no digits to lose.
        dtype = FLOATS.get(config.precision, torch.float16)
    pipeline = open_pipeline(checkpoint, config.transformer, config.conventions, dtype=dtype, device="cpu")
    if isinstance(pipeline, NoiseConditionedPipeline):
        raise InputError(
            f"checkpoint={config.checkpoint}: is noise-conditioned (it starts from noise and is shown the observed "
            "chunk beside it), for which there are no graphs; export a FlowFrames checkpoint, such as tiny, or run "
            "this one by `worldmodel predict`"
        )
    return pipeline
