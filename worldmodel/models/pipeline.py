"""`FlowFramesPipeline`: observed frames in, the next frames out, as a diffusers pipeline.

Shape legend: B videos (the cameras of a rig, or several clips), F frames, H height, W width, 3 colours;
C f h w are latents; L prompt tokens, D prompt width.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.errors import InputError
from worldmodel.flow.guidance import GuidedVelocity, Prompt
from worldmodel.flow.noise import Generators, check_generators, normal_like
from worldmodel.flow.solvers import Integration, Velocity, integrate
from worldmodel.models.prompts import NOT_GIVEN, GivenPrompt, PromptReader
from worldmodel.models.rollout import FlowFramesOutput, roll_out
from worldmodel.models.saving import SavedPipeline, design_of, words_of
from worldmodel.pixels import OutputType, present, refuse_not_finite, unit_from_signed, video_tensor

Texts = str | list[str] | None
StepEnd = Callable[["FlowFramesPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
"""callback(pipeline, step from 0, timestep, {"latents": [B, C, f, h, w]}) -> {"latents": ...} to replace them"""


class FlowFramesPipeline(SavedPipeline):
    """Flow from observed to future frames (paper Algorithm 3 at sampling time).

    The observed chunk's latents are the start of the flow, no noise is drawn, so the answer follows from the frames.
    """

    @torch.no_grad()
    def __call__(
        self, video: Any = None, num_frames: int | None = None, num_inference_steps: int = 5,
        guidance_scale: float | None = None, prompt: Texts = None, negative_prompt: Texts = None,
        prompt_embeds: Tensor | None = None, prompt_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None, negative_prompt_mask: Tensor | None = None,
        frame_rate: float = 12.0, generator: Generators = None, latents: Tensor | None = None,
        output_type: str = "pt", return_dict: bool = True, callback_on_step_end: StepEnd | None = None,
        vae_batch_size: int | None = 1,
    ) -> FlowFramesOutput | tuple[Any]:  # fmt: skip
        """Predict the chunk right after `video`.

        Args:
            video: B observed chunks as `worldmodel.pixels.video_tensor` takes them: tensor [B, F, 3, H, W] in [0, 1] or
                uint8, array [B, F, H, W, 3], or lists of PIL images. The cameras of a rig are the batch.
            num_frames: may be left out; FlowFrames predicts as many frames as it sees.
            num_inference_steps: guided evaluations (the paper's NFE).
            guidance_scale: None takes the backbone's own. Without any prompt guidance changes nothing and is skipped.
            prompt, negative_prompt: one text or B; need a text encoder unless empty. prompt_embeds, prompt_mask and so
                on: the same, embedded: [1 or B, L, D] with mask [1 or B, L].
            frame_rate: frames per second of `video`; the network is told `network_rate` of it.
            generator: for the little noise of a timestep-conditioned LTX decoder and for a Wan source that the
                conventions sample, one or B; None is a fixed seed.
            latents: observed chunks as normalised latents [B, C, f, h, w], instead of `video`.
            output_type: "pt", "np", "pil" or "latent". return_dict: False gives `(frames,)`.
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
        check_generators(generator, len(observed))
        positive = (prompt, prompt_embeds, prompt_mask)
        negative = (negative_prompt, negative_prompt_embeds, negative_prompt_mask)
        velocity = self._velocity(backbone, observed, guidance_scale, (positive, negative), frame_rate)
        x_source = self._source(observed, generator)
        # From sigma 1, the observed chunk, to sigma 0, the future one: the pretrained networks' noise and data.
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
        output = roll_out(self, video, chunks, feed, output_type, prediction)
        return output if return_dict else (output.frames,)

    @classmethod
    def _refuse_other_design(cls, folder: Path) -> None:
        """A network that was trained to start from something else would give frames here as well, and wrong ones."""
        design = design_of(folder)
        if cls is FlowFramesPipeline and design not in (None, cls.__name__):
            words = words_of(str(design))
            raise InputError(
                f"{folder} is {'-'.join(words)}: open it by {design}.from_pretrained, or by open_pipeline with "
                f"kind={design}, in a benchmark as methods.{'_'.join(words)}"
            )

    def _source(self, observed: Tensor, generator: Generators) -> Tensor:
        """Where the flow starts: at the observed chunk itself."""
        return observed

    def _conditioning(self, observed: Tensor, batch: int) -> Tensor | None:
        """What the network sees in front of the flowing latents: nothing."""
        return None

    def _velocity(
        self,
        backbone: Backbone,
        observed: Tensor,
        guidance_scale: float | None,
        prompts: tuple[GivenPrompt, GivenPrompt],
        frame_rate: float,
    ) -> GuidedVelocity:
        """The field that is followed from sigma 1 to 0, under guidance where the prompts make a difference."""
        scale = backbone.default_guidance if guidance_scale is None else guidance_scale
        condition, negative = self.guided_prompts(backbone, len(observed), scale, *prompts)
        rate, whole_timesteps = self.network_rate(frame_rate), backbone.whole_timesteps

        def network(x: Tensor, sigma_B: Tensor, text: Prompt) -> Tensor:
            # Under guidance x holds the batch twice, negative prompt first.
            conditioning = self._conditioning(observed, len(x))
            return backbone.velocity(x, sigma_B, text.embeds_BLD, text.mask_BL, rate, conditioning, whole_timesteps)

        return GuidedVelocity(network, condition, negative, scale)

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
        parts = torch.split(video_BCFHW, vae_batch_size or len(video_BCFHW))
        posteriors = [backbone.encode(part.to(self._execution_device)) for part in parts]
        mean_BCfhw = torch.cat([posterior.mean_BCfhw.float() for posterior in posteriors])
        if backbone.source == "mean":
            return mean_BCfhw
        std_BCfhw = torch.cat([posterior.std_BCfhw.float() for posterior in posteriors])
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
        # Guidance between two equal prompts changes nothing. The paper's empty prompt has nothing to be guided from;
        # the published code guides even that, away from a negative prompt of its own.
        prompts, cache = self._prompts(backbone), self.negative_prompt_cache
        if self.conventions.sampling.negative_prompt is None or negative[:2] != (None, None) or scale == 1:
            return prompts.both(positive, negative, batch)
        cached = None if cache is None else cache.prompt(self._execution_device)
        against = prompts.negative_of(self.conventions, cached, batch)
        return prompts.read("prompt", *positive, batch), against

    def _prompts(self, backbone: Backbone) -> PromptReader:
        """Empty is the cached prompt, else the text encoder's, else what the backbone puts in its place."""
        encode = self.embed if self.text_encoder is not None and self.tokenizer is not None else None
        if self.prompt_cache is None and encode is not None:
            return PromptReader(encode([""]), encode)
        embeds, mask = backbone.empty_prompt()
        mask = None if mask is None else mask.to(self._execution_device)
        return PromptReader(Prompt(embeds.to(self._execution_device), mask), encode)

    def _integrate(
        self,
        velocity: Velocity,
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
        parts = [backbone.decode(part, own) for part, own in zip(torch.split(latents, 1), generator, strict=True)]
    else:
        parts = [backbone.decode(part, generator) for part in torch.split(latents, vae_batch_size or len(latents))]
    pixels_BCFHW = torch.cat(parts)
    refuse_not_finite(pixels_BCFHW, "what the VAE decoded")
    return unit_from_signed(pixels_BCFHW.float()).clamp(0, 1).transpose(1, 2)


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
