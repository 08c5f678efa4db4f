"""FlowFrames on LTX-Video, Wan 2.1 or tiny, and the noise-conditioned design on the same networks.

Shape legend: B clips, F observed frames, G predicted frames, H height, W width, 3 colours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.conventions import ConventionsName
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError
from worldmodel.models.checkpoint import trained_chunk
from worldmodel.models.families import FAMILIES, family_of
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.open import open_pipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.prompt_files import read_clip_prompts, read_prompts
from worldmodel.pixels import signed_from_unit, unit_from_signed
from worldmodel.settings import Count, Device, NotNegative, Positive, Settings, Size, Text

CODE = "Apache-2.0 (this package)"
NO_PROMPT = "The prompt is empty, so guidance would change nothing and is skipped."
PROMPTS = "The paper names no prompt: here prompt and negative prompt are those of the given files."
PUBLISHED = "Guidance goes from the published code's negative prompt to the clip's caption, the empty one without any."


@dataclass(frozen=True)
class ModelOptions(Settings):
    """Which model of this package, and how it is run.

    Attributes:
        checkpoint: a shipped name, a pipeline folder, a hub id, official files; `random` draws weights for `family`,
            which is enough for memory and latency.
        family: ltx or wan; for checkpoint=random. sizes: real is the published one, tiny is for tests; likewise.
        size: height and width; null is what the model was trained at, else the paper's.
        frames: observed, and predicted; null is what the model was trained at, else 17.
        steps: of the sampler. guidance: null is the backbone's own.
        frame_rate: frames a second, where the clips do not say.
        prompt, negative_prompt: files of embedded prompts, see `read_prompt`; null is the empty one, or what the
            conventions say.
        prompts: a file of one prompt for each scene or video, see `read_clip_prompts`; others have `prompt`.
        transformer: folder of one that was trained alone; it takes the place of the checkpoint's own.
        conventions: paper, or published for what FlowC2S's code computes (docs/parity.md); null is as saved.
        decode_timestep, decode_noise_scale, fixed_rate: single choices among them: what an LTX decoder is told, and the
            frames per second that the network is told whatever the clips'.
        dtype: of the weights. device: auto, cpu, cuda, cuda:N.
    """

    checkpoint: Text = "tiny"
    family: Literal["ltx", "wan"] | None = None
    sizes: Literal["real", "tiny"] = "real"
    size: Size | None = None
    frames: Count | None = None
    steps: Count = 5
    guidance: NotNegative | None = None
    frame_rate: Positive = NOMINAL_RATE
    prompt: Text | None = None
    negative_prompt: Text | None = None
    prompts: Text | None = None
    transformer: Text | None = None
    conventions: ConventionsName | None = None
    decode_timestep: NotNegative | None = None
    decode_noise_scale: NotNegative | None = None
    fixed_rate: Positive | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Device = "auto"


class FlowFramesMethod(Method):
    """The pipeline of this package as a method; `name` says which design it is."""

    def __init__(self, name: str, options: ModelOptions, pipeline: FlowFramesPipeline) -> None:
        self.name, self.options, self.pipeline = name, options, pipeline
        like_1LD, self._prompts = pipeline.backbone.empty_prompt()[0], dict[str, Any]()
        prompts = read_prompts(options.prompt, options.negative_prompt, like_1LD)
        for key, prompt in zip(("prompt", "negative_prompt"), prompts, strict=True):
            if prompt is not None:
                self._prompts |= {f"{key}_embeds": prompt.embeds_BLD, f"{key}_mask": prompt.mask_BL}
        self._of_clips = read_clip_prompts(options.prompts, like_1LD)
        if any(isinstance(text, str) for text in self._of_clips.values()) and pipeline.text_encoder is None:
            raise InputError(f"prompts={options.prompts}: texts need a text encoder; give embeddings in .safetensors")

    @property
    def spec(self) -> Spec:
        options, backbone = self.options, self.pipeline.backbone
        size, frames = chunk(options, backbone)
        guidance = backbone.default_guidance if options.guidance is None else options.guidance
        _, latents, *_ = backbone.geometry.latent_shape(frames, *size)
        kept = f"{latents} latents of the observed chunk become {latents} of the future one"
        if isinstance(self.pipeline, NoiseConditionedPipeline):
            kept = f"{latents} latents of noise become the future chunk, {latents} of the observed one are shown beside"
        return Spec(
            self.name, size, kept, licences(backbone), frames, frames, options.steps, guidance, options.steps,
            self.pipeline.network_rate(options.frame_rate), remarks=(self._remark(guidance),), backbone=backbone.name,
            conventions=self.pipeline.conventions.name,
        )  # fmt: skip

    def _remark(self, guidance: float) -> str:
        if self._prompts or self._of_clips:
            return PROMPTS
        negative_prompt = self.pipeline.conventions.sampling.negative_prompt
        return NO_PROMPT if negative_prompt is None or guidance == 1 else PUBLISHED

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"vae": self.pipeline.vae, "transformer": self.pipeline.transformer}

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        options = self.options
        result = self.pipeline(
            unit_from_signed(observed), num_inference_steps=options.steps, guidance_scale=options.guidance,
            frame_rate=self.clip_rate or options.frame_rate, generator=noise.generators(), **self._prompts_of_clip(),
        )  # fmt: skip
        self.evaluations = result.evaluations  # type: ignore[union-attr]
        return signed_from_unit(result.frames)  # type: ignore[union-attr]

    def _prompts_of_clip(self) -> dict[str, Any]:
        """The pipeline's arguments: the file's prompt for this clip, else the caption where conventions have one."""
        prompt = self._of_clips.get(self.clip_name)
        captioned = self.caption and self.pipeline.conventions.sampling.captions and self.spec.guidance != 1
        if prompt is None and captioned and "prompt_embeds" not in self._prompts:
            prompt = self.caption
        if prompt is None:
            return self._prompts
        rest = {key: value for key, value in self._prompts.items() if key not in ("prompt_embeds", "prompt_mask")}
        if isinstance(prompt, str):
            return rest | {"prompt": prompt}
        return rest | {"prompt_embeds": prompt.embeds_BLD, "prompt_mask": prompt.mask_BL}


def load_flowframes(options: ModelOptions) -> FlowFramesMethod:
    """FlowFrames: paper Algorithm 3 at sampling time."""
    return FlowFramesMethod("flowframes", options, opened(FlowFramesPipeline, options))


def load_noise_conditioned(options: ModelOptions) -> FlowFramesMethod:
    """The conventional design on the same network (paper Fig. 1a), trained by `objective=noise_conditioned`."""
    return FlowFramesMethod("noise_conditioned", options, opened(NoiseConditionedPipeline, options))


def opened(kind: type[FlowFramesPipeline], options: ModelOptions) -> FlowFramesPipeline:
    """The model that `options` names, on its device; raises `InputError` where it cannot be had."""
    pipeline = open_pipeline(
        _name_of(options), options.transformer, options.conventions, kind=kind, family=options.family,
        dtype=getattr(torch, options.dtype), device=options.device, decode_timestep=options.decode_timestep,
        decode_noise_scale=options.decode_noise_scale, fixed_rate=options.fixed_rate,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def chunk(options: ModelOptions, backbone: Backbone) -> tuple[tuple[int, int], int]:
    """Size and number of frames, each as asked for, else as trained, else the paper's."""
    frames, size = trained_chunk(_name_of(options), family_of(backbone))
    return options.size or size, options.frames or frames


def _name_of(options: ModelOptions) -> str:
    """The checkpoint's name, with family and sizes where its weights are random."""
    return f"random {options.family or 'ltx'} {options.sizes}" if options.checkpoint == "random" else options.checkpoint


def licences(backbone: Backbone) -> Licences:
    """Of this package and of the backbone's weights."""
    family = FAMILIES.get(backbone.name)
    return Licences(CODE, "of whoever trained them" if family is None else family.weights_licence)
