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
from worldmodel.backbones.loading import load_networks
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.wan import WanBackbone
from worldmodel.backbones.weights import align_weights
from worldmodel.conventions import Conventions, conventions_of
from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt, guided_velocity
from worldmodel.flow.noise import Generators, check_generators, normal_like
from worldmodel.flow.solvers import Evaluations, Integration, check_scheduler, integrate
from worldmodel.pixels import OutputType, present, refuse_not_finite, unit_from_signed, video_tensor
from worldmodel.prompts import NOT_GIVEN, GivenPrompt, PromptCache, PromptReader, encode_text

StepEnd = Callable[["FlowFramesPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
"""callback(pipeline, step from 0, timestep, {"latents": [B, C, f, h, w]}) -> {"latents": ...} to replace them"""


FAMILIES: dict[type, tuple[Callable[..., Backbone], tuple[str, ...]]] = {
    AutoencoderKLLTXVideo: (LTXBackbone, ("decode_timestep", "decode_noise_scale")),
    AutoencoderKLWan: (WanBackbone, ("text_length",)),
}
"""VAE class -> backbone class and the options of it that a pipeline keeps in its model_index.json"""


BY_CONVENTIONS = ("decode_timestep", "decode_noise_scale", "fixed_rate")
"""Options of a pipeline that its conventions decide where they are None."""
DIFFUSERS_LOADS = {"device_map", "max_memory", "quantization_config", "variant", "use_safetensors"}
"""Arguments of `from_pretrained` with which diffusers loads the networks as it always does."""


def family_of(vae: object) -> tuple[Callable[..., Backbone], tuple[str, ...]]:
    """The entry of `FAMILIES` for this VAE; raises `InputError` for a VAE of neither."""
    for kind, family in FAMILIES.items():
        if isinstance(vae, kind):
            return family
    raise InputError(f"vae {type(vae).__name__}: use {' or '.join(kind.__name__ for kind in FAMILIES)}")


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
    negative_prompt_cache: PromptCache | None

    model_cpu_offload_seq: Any = "text_encoder->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer", "prompt_cache", "negative_prompt_cache"]
    _exclude_from_cpu_offload = ["prompt_cache", "negative_prompt_cache"]

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
        decode_timestep: float | None = None,
        decode_noise_scale: float | None = None,
        text_length: int = 512,
        conventions: str = "paper",
        fixed_rate: float | None = None,
        negative_prompt_cache: PromptCache | None = None,
    ) -> None:
        """Raise `InputError` for a VAE of no known family or a scheduler that is not a plain flow from 1 to 0.

        Args:
            prompt_cache: the empty prompt, for use without text encoder.
            backbone_name, default_guidance: None takes the backbone's own.
            decode_timestep, decode_noise_scale: see `LTXBackbone`; None is as `conventions` say; unused by Wan.
            text_length: see `WanBackbone`; unused by LTX.
            conventions: `paper`, or `published` for what FlowC2S computes; see `worldmodel.conventions`.
            fixed_rate: frames a second that the network is told whatever the video's; None is as `conventions` say.
            negative_prompt_cache: the negative prompt of `conventions`, for use without text encoder.
        """
        super().__init__()
        conventions_of(conventions)
        self.register_modules(
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            prompt_cache=prompt_cache,
            negative_prompt_cache=negative_prompt_cache,
        )
        self.register_to_config(
            backbone_name=backbone_name,
            default_guidance=default_guidance,
            decode_timestep=decode_timestep,
            decode_noise_scale=decode_noise_scale,
            text_length=text_length,
            conventions=conventions,
            fixed_rate=fixed_rate,
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
            conventions=backbone.conventions.name,
            **{option: getattr(backbone, option) for option in options},
        )
        pipeline.register_modules(prompt_cache=PromptCache.of(*backbone.empty_prompt()))
        if text_encoder is not None and tokenizer is not None:
            pipeline.cache_empty_prompt()
        return pipeline

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> "FlowFramesPipeline":
        """As diffusers', but strict: a saved folder with a missing, stray or misshapen weight raises `InputError`.

        Weights then lie in memory as they did when saved, so that outputs are equal bit for bit. Given other
        `conventions` than the saved ones, saved options that conventions decide count no more.
        """
        folder = Path(args[0] if args else kwargs["pretrained_model_name_or_path"])
        if cls is FlowFramesPipeline:
            _refuse_other_design(folder)
        told = {name: kwargs.pop(name, None) for name in ("conventions", *BY_CONVENTIONS)}
        if (folder / "model_index.json").is_file():
            dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or torch.float32
            if isinstance(dtype, torch.dtype) and not kwargs.keys() & DIFFUSERS_LOADS:
                kwargs |= load_networks(folder, kwargs.keys(), dtype)
        pipeline = super().from_pretrained(*args, **kwargs)
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                align_weights(component)
        return pipeline.following(**told)

    def following(self, conventions: str | None = None, **options: float | None) -> "FlowFramesPipeline":
        """This pipeline, which keeps to other conventions from now on; None is as they are.

        `options` are single choices among them: decode_timestep, decode_noise_scale, fixed_rate. Those that are not
        given are as the new conventions say.
        """
        changed: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if conventions is not None and conventions_of(conventions) is not self.conventions:
            changed = dict.fromkeys(BY_CONVENTIONS) | {"conventions": conventions} | changed
        if changed:
            self.register_to_config(**changed)
        return self

    def cache_empty_prompt(self) -> None:
        """Keep the text encoder's empty prompt, and the negative one of the conventions where they have one.

        Both are components; the encoder may then be dropped before saving.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError("cache_empty_prompt: load text_encoder and tokenizer first")
        # Not by assignment: diffusers keeps a component that was None out of model_index.json then.
        texts = {"prompt_cache": "", "negative_prompt_cache": self.conventions.sampling.negative_prompt}
        for name, text in texts.items():
            if text is not None:
                prompt = self._encode([text])
                self.register_modules(**{name: PromptCache.of(prompt.embeds_BLD, prompt.mask_BL)})

    @property
    def conventions(self) -> Conventions:
        """What a prediction follows where it is not told otherwise."""
        return conventions_of(self.config["conventions"])

    def network_rate(self, frame_rate: float) -> float:
        """Frames a second that the network is told of a video with `frame_rate`."""
        fixed = self.config["fixed_rate"] or self.conventions.sampling.frame_rate
        return frame_rate if fixed is None else fixed

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
            conventions=self.conventions,
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
            video: B observed chunks, see `worldmodel.pixels.video_tensor`: tensor [B, F, 3, H, W] in [0, 1] or uint8,
                array [B, F, H, W, 3], or (lists of) lists of PIL images. The cameras of a rig are the batch.
            num_frames: may be left out; FlowFrames predicts as many frames as it sees.
            num_inference_steps: guided evaluations (the paper's NFE).
            guidance_scale: None takes the backbone's default; without a prompt guidance is a no-op and is skipped,
                unless the conventions have a negative prompt.
            prompt, negative_prompt: one text or B; need a text encoder unless empty.
            prompt_embeds, prompt_mask, negative_prompt_embeds, negative_prompt_mask: the same, embedded: [1 or B, L, D]
                with mask [1 or B, L].
            frame_rate: frames per second of `video`; the network is told `network_rate` of it.
            generator: for the little noise of a timestep-conditioned LTX decoder and for a Wan source that the
                conventions sample, one or B; None is a fixed seed.
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
        observed = self._observed(backbone, video, latents, vae_batch_size, generator)
        _check_num_frames(num_frames, backbone, observed)
        batch, rate = len(observed), self.network_rate(frame_rate)
        check_generators(generator, batch)
        scale = backbone.default_guidance if guidance_scale is None else guidance_scale
        condition, negative = self.guided_prompts(
            backbone, batch, scale, (prompt, prompt_embeds, prompt_mask),
            (negative_prompt, negative_prompt_embeds, negative_prompt_mask),
        )  # fmt: skip
        velocity = guided_velocity(
            lambda x, sigma_B, text: backbone.velocity(
                x, sigma_B, text.embeds_BLD, text.mask_BL, rate, self._shown(observed, len(x)), backbone.whole_timesteps
            ),
            condition,
            negative,
            scale,
        )
        x_source = self._source(observed, generator)
        reached = self._integrate(velocity, x_source, num_inference_steps, callback_on_step_end, backbone.first_sigma)
        refuse_not_finite(reached.x, "the network's prediction")
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

    def _observed(
        self,
        backbone: Backbone,
        video: Any,
        latents: Tensor | None,
        vae_batch_size: int | None,
        generator: Generators,
    ) -> Tensor:
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
        return self.source_latents(backbone, video_BCFHW, vae_batch_size, generator)

    def source_latents(
        self,
        backbone: Backbone,
        video_BCFHW: Float[Tensor, "B 3 F H W"],
        vae_batch_size: int | None = None,
        generator: Generators = None,
    ) -> Float[Tensor, "B C f h w"]:
        """What the flow starts from for pixels in [-1, 1]: the posterior's mean or a sample of it, normalised."""
        parts = video_BCFHW.split(vae_batch_size or len(video_BCFHW))
        posteriors = [backbone.encode(part.to(self._execution_device)) for part in parts]
        mean_BCfhw = torch.cat([one.mean_BCfhw.float() for one in posteriors])
        if backbone.source == "mean":
            return mean_BCfhw
        std_BCfhw = torch.cat([one.std_BCfhw.float() for one in posteriors])
        return mean_BCfhw + std_BCfhw * normal_like(mean_BCfhw, generator)

    def guided_prompts(
        self,
        backbone: Backbone,
        batch: int,
        scale: float,
        positive: GivenPrompt = NOT_GIVEN,
        negative: GivenPrompt = NOT_GIVEN,
    ) -> tuple[Prompt, Prompt | None]:
        """What guidance goes to and away from; the latter None where neither the caller nor the conventions say."""
        prompts, cache = self._prompts(backbone), self.negative_prompt_cache
        if self.conventions.sampling.negative_prompt is None or negative[:2] != (None, None) or scale == 1:
            return prompts.both(positive, negative, batch)
        cached = None if cache is None else cache.prompt(self._execution_device)
        against = prompts.negative_of(self.conventions, cached, batch)
        return prompts.read("prompt", *positive, batch), against

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
        self,
        velocity: Any,
        x_source: Tensor,
        num_inference_steps: int,
        callback_on_step_end: StepEnd | None,
        first_sigma: float | None,
    ) -> Integration:
        with self.progress_bar(total=num_inference_steps) as bar:

            def after_step(step: int, sigma: float, x: Tensor) -> Tensor | None:
                bar.update()
                if callback_on_step_end is None:
                    return None
                replaced = callback_on_step_end(self, step, self.scheduler.timesteps[step], {"latents": x})
                return None if replaced is None else replaced.get("latents")

            return integrate(velocity, x_source, self.scheduler, num_inference_steps, after_step, first_sigma)


def _decode(
    backbone: Backbone, latents: Tensor, generator: Generators, vae_batch_size: int | None
) -> Float[Tensor, "B F 3 H W"]:
    """Pixels in [0, 1], float32."""
    if isinstance(generator, list):
        parts = [backbone.decode(part, own) for part, own in zip(latents.split(1), generator, strict=True)]
    else:
        parts = [backbone.decode(part, generator) for part in latents.split(vae_batch_size or len(latents))]
    pixels_BCFHW = torch.cat(parts)
    refuse_not_finite(pixels_BCFHW, "what the VAE decoded")
    return unit_from_signed(pixels_BCFHW.float()).clamp(0, 1).transpose(1, 2)


def _refuse_other_design(folder: Path) -> None:
    """A network that was trained to start from noise would give frames here as well, and wrong ones."""
    index = folder / "model_index.json"
    if index.is_file() and '"NoiseConditionedPipeline"' in index.read_text(errors="replace"):
        raise InputError(
            f"{folder} is noise-conditioned: open it by worldmodel.models.open.open_pipeline, in a benchmark as "
            "methods.noise_conditioned"
        )


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
