"""`FlowFramesPipeline`: observed frames in, the next frames out, as a diffusers pipeline.

Shape legend: B videos (the cameras of a rig, or several clips), F frames, H height, W width, 3 colours;
C f h w are latents; L prompt tokens, D prompt width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, SchedulerMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.wan import WanBackbone
from worldmodel.backbones.weights import Weights, component_files, refuse_misfit
from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt, guided_velocity
from worldmodel.flow.solvers import Evaluations, Integration, check_scheduler, integrate
from worldmodel.frames import OutputType, present, video_tensor
from worldmodel.prompts import PromptCache, PromptReader, encode_text

Generators = torch.Generator | list[torch.Generator] | None
"""One for all videos, or one for each, so that a video's answer does not depend on its batch."""

StepEnd = Callable[["FlowFramesPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
"""callback(pipeline, step from 0, timestep, {"latents": [B, C, f, h, w]}) -> {"latents": ...} to replace them"""


FAMILIES: dict[type, tuple[Callable[..., Backbone], tuple[str, ...]]] = {
    AutoencoderKLLTXVideo: (LTXBackbone, ("decode_timestep", "decode_noise_scale")),
    AutoencoderKLWan: (WanBackbone, ("text_length",)),
}
"""VAE class -> backbone class and the options of it that a pipeline keeps in its model_index.json"""


def family_of(vae: object) -> tuple[Callable[..., Backbone], tuple[str, ...]]:
    """The entry of `FAMILIES` for this VAE; raises `InputError` for a VAE of neither."""
    for kind, family in FAMILIES.items():
        if isinstance(vae, kind):
            return family
    raise InputError(f"vae {type(vae).__name__}: use {' or '.join(kind.__name__ for kind in FAMILIES)}")


def align_weights(module: torch.nn.Module) -> None:
    """Move CPU weights to 64-byte boundaries, where PyTorch itself allocates.

    Weights mapped from a safetensors file lie at any multiple of 4 bytes, and kernels that depend on the alignment
    round differently there: a saved and loaded pipeline then differed from itself by about 1e-6.
    """
    for weight in (*module.parameters(), *module.buffers()):
        if weight.device.type == "cpu" and weight.data_ptr() % 64:
            weight.data = weight.data.clone()


@dataclass
class FlowFramesOutput(BaseOutput):
    """A prediction.

    Attributes:
        frames: the future as `output_type` says: "pt" [B, F, 3, H, W] and "np" [B, F, H, W, 3] in [0, 1], "pil"
            lists of images, "latent" [B, C, f, h, w]. A rollout of n chunks has n times as many frames.
        latents: predicted normalised latents [B, C, f, h, w]; a rollout has n * f, and each chunk decodes alone.
        evaluations: what it cost; `guidance_skipped` says why guidance was not computed.
    """

    frames: Any
    latents: Tensor
    evaluations: Evaluations


class FlowFramesPipeline(DiffusionPipeline):
    """Flow from observed to future frames (paper Algorithm 3 at sampling time).

    The observed chunk's latents are the start of the flow, no noise is drawn, so the answer follows from the frames.
    A pipeline without text encoder uses its cached empty prompt. Components load and save as in any diffusers
    pipeline, and a folder of the pretrained LTX-Video or Wan 2.1 opens too.
    """

    vae: torch.nn.Module
    transformer: torch.nn.Module
    scheduler: Any
    text_encoder: Any
    tokenizer: Any
    prompt_cache: PromptCache | None

    model_cpu_offload_seq: Any = "text_encoder->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer", "prompt_cache"]
    _exclude_from_cpu_offload = ["prompt_cache"]

    def __init__(
        self,
        vae: torch.nn.Module,
        transformer: torch.nn.Module,
        scheduler: SchedulerMixin,
        text_encoder: torch.nn.Module | None = None,
        tokenizer: object | None = None,
        prompt_cache: PromptCache | None = None,
        backbone_name: str | None = None,
        default_guidance: float | None = None,
        decode_timestep: float = 0.05,
        decode_noise_scale: float = 0.025,
        text_length: int = 512,
    ) -> None:
        """Raise `InputError` for a VAE of no known family or a scheduler that is not a plain flow from 1 to 0.

        Args:
            prompt_cache: the empty prompt, for use without text encoder.
            backbone_name, default_guidance: None takes the backbone's own.
            decode_timestep, decode_noise_scale: see `LTXBackbone`; unused by Wan.
            text_length: see `WanBackbone`; unused by LTX.
        """
        super().__init__()
        self.register_modules(
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            prompt_cache=prompt_cache,
        )
        self.register_to_config(
            backbone_name=backbone_name,
            default_guidance=default_guidance,
            decode_timestep=decode_timestep,
            decode_noise_scale=decode_noise_scale,
            text_length=text_length,
        )
        check_scheduler(scheduler)
        self.backbone  # noqa: B018  refuses modules that do not belong together

    @classmethod
    def from_backbone(
        cls,
        backbone: Backbone,
        scheduler: SchedulerMixin | None = None,
        text_encoder: torch.nn.Module | None = None,
        tokenizer: object | None = None,
    ) -> "FlowFramesPipeline":
        """Around a loaded backbone; `scheduler` None takes the backbone's own.

        The cached empty prompt is the text encoder's, where one is given here, else the backbone's.
        """
        _, options = family_of(backbone.vae)
        pipeline = cls(
            backbone.vae,
            backbone.transformer,
            scheduler or backbone.default_scheduler(),
            text_encoder,
            tokenizer,
            backbone_name=backbone.name,
            default_guidance=backbone.default_guidance,
            **{option: getattr(backbone, option) for option in options},
        )
        pipeline.register_modules(prompt_cache=PromptCache.of(*backbone.empty_prompt()))
        if text_encoder is not None and tokenizer is not None:
            pipeline.cache_empty_prompt()
        return pipeline

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> "FlowFramesPipeline":
        """As diffusers', but strict: a saved folder with a missing, stray or misshapen weight raises `InputError`.

        Weights then lie in memory as they did when saved, so that outputs are equal bit for bit.
        """
        folder = Path(args[0] if args else kwargs["pretrained_model_name_or_path"])
        if cls is FlowFramesPipeline:
            _refuse_other_design(folder)
        files = {name: component_files(folder, name) for name in ("transformer", "vae") if name not in kwargs}
        pipeline = super().from_pretrained(*args, **kwargs)
        for name, component in pipeline.components.items():
            if files.get(name):
                refuse_misfit(component, Weights(files[name]))
            if isinstance(component, torch.nn.Module):
                align_weights(component)
        return pipeline

    def cache_empty_prompt(self) -> None:
        """Keep the text encoder's empty prompt as a component; the encoder may then be dropped before saving."""
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError("cache_empty_prompt: load text_encoder and tokenizer first")
        prompt = self._encode([""])
        # Not by assignment: diffusers keeps a component that was None out of model_index.json then.
        self.register_modules(prompt_cache=PromptCache.of(prompt.embeds_BLD, prompt.mask_BL))

    @property
    def backbone(self) -> Backbone:
        """The components seen as a `Backbone`; made anew at each use, since components may be exchanged."""
        make_backbone, options = family_of(self.vae)
        cache = self.prompt_cache
        backbone = make_backbone(
            self.vae,
            self.transformer,
            empty_prompt_embeds=None if cache is None else cache.embeds.data,
            empty_prompt_mask=None if cache is None or cache.mask is None else cache.mask.data,
            **{option: self.config[option] for option in options},
        )
        backbone.name = self.config["backbone_name"] or backbone.name
        if self.config["default_guidance"] is not None:
            backbone.default_guidance = self.config["default_guidance"]
        return backbone

    @torch.no_grad()
    def __call__(
        self,
        video: Any = None,
        num_frames: int | None = None,
        num_inference_steps: int = 5,
        guidance_scale: float | None = None,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        negative_prompt_mask: Tensor | None = None,
        frame_rate: float = 12.0,
        generator: Generators = None,
        latents: Tensor | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: StepEnd | None = None,
        vae_batch_size: int | None = 1,
    ) -> FlowFramesOutput | tuple[Any]:
        """Predict the chunk right after `video`.

        Args:
            video: B observed chunks, see `worldmodel.frames.video_tensor`: tensor [B, F, 3, H, W] in [0, 1] or uint8,
                array [B, F, H, W, 3], or (lists of) lists of PIL images. The cameras of a rig are the batch.
            num_frames: may be left out; FlowFrames predicts as many frames as it sees.
            num_inference_steps: guided evaluations (the paper's NFE).
            guidance_scale: None takes the backbone's default; without a prompt guidance is a no-op and is skipped.
            prompt, negative_prompt: one text or B; need a text encoder unless empty.
            prompt_embeds, prompt_mask, negative_prompt_embeds, negative_prompt_mask: the same, embedded: [1 or B, L, D]
                with mask [1 or B, L].
            frame_rate: frames per second of `video`.
            generator: for the little noise of a timestep-conditioned LTX decoder, one or B; None is a fixed seed.
            latents: observed chunks as normalised latents [B, C, f, h, w], instead of `video`.
            output_type: "pt", "np", "pil" or "latent".
            return_dict: False gives `(frames,)`.
            callback_on_step_end: called after each step as in diffusers, with "latents" only.
            vae_batch_size: videos in the VAE at once, None for all. One takes the least memory and was no slower on a
                CPU (`tiny`, 6 videos of 17x256x384: 1.0 GB peak against 1.9 GB).

        Raises:
            InputError: a video, size, count, prompt or option that cannot be used, with the remedy.
        """
        _check_options(output_type, frame_rate, vae_batch_size)
        backbone = self.backbone
        observed = self._observed(backbone, video, latents, vae_batch_size)
        _check_num_frames(num_frames, backbone, observed)
        batch, prompts = len(observed), self._prompts(backbone)
        if isinstance(generator, list) and len(generator) != batch:
            raise InputError(f"generator: {len(generator)} for {batch} videos; give one, or one for each")
        condition = prompts.read("prompt", prompt, prompt_embeds, prompt_mask, batch)
        negative = prompts.read("negative_prompt", negative_prompt, negative_prompt_embeds, negative_prompt_mask, batch)
        given = (prompt, negative_prompt, prompt_embeds, negative_prompt_embeds)
        velocity = guided_velocity(
            lambda x, sigma_B, text: backbone.velocity(
                x, sigma_B, text.embeds_BLD, text.mask_BL, frame_rate, self._shown(observed, len(x))
            ),
            condition,
            None if all(one is None for one in given) else negative,
            backbone.default_guidance if guidance_scale is None else guidance_scale,
        )
        x_source = self._source(observed, generator)
        reached = self._integrate(velocity, x_source, num_inference_steps, callback_on_step_end)
        frames = reached.x
        if output_type != "latent":
            frames = present(_decode(backbone, reached.x, generator, vae_batch_size), output_type)
        self.maybe_free_model_hooks()
        return FlowFramesOutput(frames, reached.x, reached.evaluations) if return_dict else (frames,)

    @torch.no_grad()
    def rollout(
        self,
        video: Any,
        chunks: int,
        feed: str = "frames",
        output_type: str = "pt",
        return_dict: bool = True,
        **prediction: Any,
    ) -> FlowFramesOutput | tuple[Any]:
        """Predict `chunks` chunks, each from the one before; frames [B, chunks * F, 3, H, W].

        Args:
            feed: what the next chunk starts from: "frames" encodes the predicted frames again (the paper's rollout),
                "latents" goes on from the predicted latents without the VAE between.
            **prediction: arguments of `__call__`, the same for every chunk.
        """
        if chunks < 1:
            raise InputError(f"chunks={chunks}: use at least 1")
        if feed not in ("frames", "latents"):
            raise InputError(f"feed={feed!r}: use frames or latents")
        each = "latent" if (output_type, feed) == ("latent", "latents") else "pt"
        results: list[Any] = []
        observed = {"video": video}
        for _ in range(chunks):
            result: Any = self(**observed, output_type=each, **prediction)
            results.append(result)
            observed = {"video": result.frames} if feed == "frames" else {"latents": result.latents}
        latents = torch.cat([result.latents for result in results], dim=2)
        frames = latents
        if output_type != "latent":
            frames = present(torch.cat([result.frames for result in results], dim=1), output_type)
        evaluations = sum((result.evaluations for result in results[1:]), results[0].evaluations)
        return FlowFramesOutput(frames, latents, evaluations) if return_dict else (frames,)

    def _source(self, observed: Tensor, generator: Generators) -> Tensor:
        """Where the flow starts: at the observed chunk itself."""
        return observed

    def _shown(self, observed: Tensor, batch: int) -> Tensor | None:
        """What the network sees in front of the flowing latents: nothing."""
        return None

    def _observed(self, backbone: Backbone, video: Any, latents: Tensor | None, vae_batch_size: int | None) -> Tensor:
        """Latents of the observed chunks, float32: the solver's state keeps float32 whatever the network runs in."""
        if (video is None) == (latents is None):
            raise InputError("video and latents: give exactly one of them")
        if latents is not None:
            channels = backbone.geometry.channels
            if latents.ndim != 5 or latents.shape[1] != channels:
                raise InputError(f"latents of shape {list(latents.shape)}: give [B, {channels}, f, h, w]")
            return latents.to(self._execution_device, torch.float32)
        video_BCFHW = video_tensor(video)
        backbone.geometry.check(*video_BCFHW.shape[2:])
        parts = video_BCFHW.split(vae_batch_size or len(video_BCFHW))
        means = [backbone.encode(part.to(self._execution_device)).mean_BCfhw.float() for part in parts]
        return torch.cat(means)

    def _encode(self, texts: list[str]) -> Prompt:
        text_length = self.config["text_length"] if isinstance(self.vae, AutoencoderKLWan) else None
        return encode_text(texts, self.text_encoder, self.tokenizer, self._execution_device, text_length)

    def _prompts(self, backbone: Backbone) -> PromptReader:
        """Empty is the cached prompt, else the text encoder's, else what the backbone puts in its place."""
        encode = self._encode if self.text_encoder is not None and self.tokenizer is not None else None
        if self.prompt_cache is None and encode is not None:
            return PromptReader(encode([""]), encode)
        embeds, mask = backbone.empty_prompt()
        mask = None if mask is None else mask.to(self._execution_device)
        return PromptReader(Prompt(embeds.to(self._execution_device), mask), encode)

    def _integrate(
        self, velocity: Any, x_source: Tensor, num_inference_steps: int, callback_on_step_end: StepEnd | None
    ) -> Integration:
        with self.progress_bar(total=num_inference_steps) as bar:

            def after_step(step: int, sigma: float, x: Tensor) -> Tensor | None:
                bar.update()
                if callback_on_step_end is None:
                    return None
                replaced = callback_on_step_end(self, step, self.scheduler.timesteps[step], {"latents": x})
                return None if replaced is None else replaced.get("latents")

            return integrate(velocity, x_source, self.scheduler, num_inference_steps, after_step)


def _decode(
    backbone: Backbone, latents: Tensor, generator: Generators, vae_batch_size: int | None
) -> Float[Tensor, "B F 3 H W"]:
    """Pixels in [0, 1], float32."""
    if isinstance(generator, list):
        parts = [backbone.decode(part, own) for part, own in zip(latents.split(1), generator, strict=True)]
    else:
        parts = [backbone.decode(part, generator) for part in latents.split(vae_batch_size or len(latents))]
    return (torch.cat(parts).float() / 2 + 0.5).clamp(0, 1).transpose(1, 2)


def _refuse_other_design(folder: Path) -> None:
    """A network that was trained to start from noise would give frames here as well, and wrong ones."""
    index = folder / "model_index.json"
    if index.is_file() and '"NoiseConditionedPipeline"' in index.read_text(errors="replace"):
        raise InputError(f"{folder} is noise-conditioned: open it as worldmodel.noise_conditioned's pipeline")


def _check_options(output_type: str, frame_rate: float, vae_batch_size: int | None) -> None:
    if output_type not in get_args(OutputType):
        raise InputError(f"output_type={output_type!r}: use one of {', '.join(get_args(OutputType))}")
    if not 0 < frame_rate < float("inf"):
        raise InputError(f"frame_rate={frame_rate}: give the video's frames per second, above 0")
    if vae_batch_size is not None and vae_batch_size < 1:
        raise InputError(f"vae_batch_size={vae_batch_size}: use at least 1, or leave it out")


def _check_num_frames(num_frames: int | None, backbone: Backbone, x_source: Tensor) -> None:
    observed = (x_source.shape[2] - 1) * backbone.geometry.temporal + 1
    if num_frames not in (None, observed):
        raise InputError(
            f"num_frames={num_frames}: FlowFrames predicts as many frames as it sees, here {observed}; "
            f"for more use rollout(video, chunks={max(1, -(-num_frames // observed))})"
        )
