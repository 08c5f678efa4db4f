"""What is exported: a pipeline, the size of its chunks, and the prompts that are baked in."""

from dataclasses import dataclass
from typing import Literal

import torch

from worldmodel.backbones.random import random_backbone
from worldmodel.backbones.wan import WanBackbone
from worldmodel.errors import InputError
from worldmodel.export.config import ExportConfig
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.export.precision import FLOATS
from worldmodel.flow.guidance import Prompt
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.open import open_pipeline, place_of, trained_chunk
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.prompt_files import read_prompts
from worldmodel.models.published import ChunkSize, published_chunk

WITH_TRANSFORMER = " transformer="
"""Between a checkpoint and the transformer that took its own one's place, in the name of a source."""


@dataclass(frozen=True)
class Source:
    """A pipeline on the CPU with the name under which the manifest knows it."""

    name: str
    pipeline: FlowFramesPipeline
    chunk: Chunk
    prompts: BakedPrompts

    @property
    def family(self) -> Literal["ltx", "wan", "tiny"]:
        """As in the manifest; `tiny` is of LTX's classes."""
        backbone = self.pipeline.backbone
        if isinstance(backbone, WanBackbone):
            return "wan"
        return "tiny" if backbone.name == "tiny" else "ltx"


def open_source(config: ExportConfig) -> Source:
    """The pipeline that the configuration names, or one of random weights.

    Raises:
        InputError: a checkpoint that does not load, a size without a latent, or a prompt that does not fit.
    """
    name, pipeline, (frames, (height, width)) = _random(config) if config.weights == "random" else _saved(config)
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
    return Source(name, pipeline, chunk, baked_prompts(pipeline, config))


def baked_prompts(pipeline: FlowFramesPipeline, config: ExportConfig) -> BakedPrompts:
    """The prompts as the pipeline would use them with these embeddings and this guidance."""
    backbone = pipeline.backbone
    empty = Prompt(*backbone.empty_prompt())
    scale = backbone.default_guidance if config.guidance is None else config.guidance
    prompt, negative = read_prompts(config.prompt_embeds, config.negative_prompt_embeds, empty.embeds_BLD)
    if negative is None:  # where the conventions have one
        _, negative = pipeline.guided_prompts(backbone, 1, scale)
    return BakedPrompts.of(empty, prompt, negative, scale)


def _saved(config: ExportConfig) -> tuple[str, FlowFramesPipeline, ChunkSize]:
    pipeline = open_pipeline(config.checkpoint, config.transformer, config.conventions, device="cpu")
    if isinstance(pipeline, NoiseConditionedPipeline):
        raise InputError(
            f"checkpoint={config.checkpoint}: is noise-conditioned (it starts from noise and is shown the observed "
            "chunk beside it), for which there are no graphs; export a FlowFrames checkpoint, such as tiny, or run "
            "this one by `worldmodel predict`"
        )
    name = config.checkpoint + ("" if config.transformer is None else f"{WITH_TRANSFORMER}{config.transformer}")
    return name, pipeline, trained_chunk(place_of(config.checkpoint), pipeline.backbone.name)


def _random(config: ExportConfig) -> tuple[str, FlowFramesPipeline, ChunkSize]:
    # Real sizes in float32 would take twice the memory, and random weights have no digits to lose.
    dtype = FLOATS.get(config.precision, torch.float16) if config.sizes == "real" else torch.float32
    pipeline = FlowFramesPipeline.from_backbone(random_backbone(config.family, config.sizes, dtype))
    pipeline.following(config.conventions)
    return f"random {config.family} {config.sizes}", pipeline, published_chunk(config.family)
