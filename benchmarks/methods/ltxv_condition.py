"""LTXVCondition: LTX-Video 2B 0.9.5 completes a canvas of noise whose first latents are the observed frames.

Sources: paper Table 2 and 4 (256x256, 17 frames given, 40 steps, CFG 3.5); diffusers `LTXConditionPipeline`, which
equals LTX-Video's own `LTXVideoPipeline`. The canvas is decoded as a whole: its new latents alone would be decoded
as if the first of them were a single frame.

Shape legend: B clips, F observed frames, G predicted frames, H height, W width, 3 colours; C f h w are latents, N their
tokens, S steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx.positions import frame_coords
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.errors import InputError
from worldmodel.flow.guidance import Prompt, skip_reason
from worldmodel.flow.solvers import Evaluations
from worldmodel.models.families import LTX
from worldmodel.models.open import chosen_device, open_backbone
from worldmodel.models.prompt_files import read_prompts
from worldmodel.models.prompts import rows
from worldmodel.pixels import unit_from_signed
from worldmodel.settings import Count, Device, NotNegative, Positive, Settings, Share, Size, Text

WEIGHTS = "ltx-video-2b-v0.9.5.safetensors"
WHERE = f"download {WEIGHTS} from huggingface.co/Lightricks/LTX-Video, or the folder Lightricks/LTX-Video-0.9.5"
LICENCES = Licences("Apache-2.0 (LTX-Video, diffusers)", LTX.weights_licence)


@dataclass(frozen=True)
class LTXVConditionOptions(Settings):
    """How LTXVCondition is run; the defaults are the paper's row.

    Attributes:
        weights: the official .safetensors file or a diffusers folder; `random` draws weights, which is enough for
            memory and latency. sizes: of random weights; real is the published one, tiny is for tests.
        size: height and width, multiples of 32. observed_frames: 8k + 1. future_frames: how many are kept.
        steps: of the linear-quadratic schedule. guidance: scale of classifier-free guidance.
        frame_rate: of the clips, frames a second.
        image_cond_noise_scale: the given tokens are shown with this much noise times t^2; 0 shows them clean.
        decode_timestep, decode_noise_scale: what the decoder is told, and the noise mixed into its latents.
        posterior: latents of the observed frames are drawn (sample, as upstream does) or its mean.
        prompt, negative_prompt: .safetensors files with `embeds` [1, L, 4096] and perhaps `mask` [1, L]; null is the
            empty prompt, for which zeros stand.
        dtype: of the weights. device: auto, cpu, cuda, cuda:N.
    """

    weights: Text = WEIGHTS
    sizes: Literal["real", "tiny"] = "real"
    size: Size = (256, 256)
    observed_frames: Count = 17
    future_frames: Count = 17
    steps: Count = 40
    guidance: NotNegative = 3.5
    frame_rate: Positive = NOMINAL_RATE
    image_cond_noise_scale: NotNegative = 0.15
    decode_timestep: Share = 0.05
    decode_noise_scale: Share = 0.025
    posterior: Literal["sample", "mean"] = "sample"
    prompt: Text | None = None
    negative_prompt: Text | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Device = "auto"


class GivenNoisePipeline(LTXConditionPipeline):
    """diffusers' pipeline with its random numbers from outside: the two methods that draw are replaced, no other.

    It takes one condition, a video [B, F, 3, H, W] at frame 0 with strength 1.

    Attributes:
        backbone: the pipeline's VAE with its normalisation. noise, draws_posterior: set before each call.
    """

    backbone: Backbone
    noise: Noise
    draws_posterior: bool

    def prepare_latents(
        self,
        conditions: list[Tensor],
        *unused: Any,
        num_frames: int,
        device: Any,
        dtype: torch.dtype,
        **also_unused: Any,
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, "B N"], Float[Tensor, "B 3 N"], int]:
        """Tokens of the canvas, which of them are given (1), their frame, row and column, and no tokens beside them."""
        given_BCfhw = self._encode(conditions[0]).to(dtype)
        frames = (num_frames - 1) // self.backbone.geometry.temporal + 1
        batch, channels, given, height, width = given_BCfhw.shape
        noise_BCfhw = self.noise.normal("latents", (batch, channels, frames, height, width)).to(given_BCfhw)
        canvas_BCfhw = torch.cat([given_BCfhw, noise_BCfhw[:, :, given:]], dim=2)
        given_BN = torch.zeros(batch, frames * height * width, device=device)
        given_BN[:, : given * height * width] = 1.0
        ratios = (self.backbone.geometry.temporal, self.backbone.geometry.spatial)
        coords_13N = frame_coords((frames, height, width), *ratios, 0, device)
        return canvas_BCfhw.flatten(2).transpose(1, 2), given_BN, coords_13N.repeat(batch, 1, 1), 0

    def add_noise_to_image_conditioning_latents(
        self,
        t: Tensor,
        init_latents: Float[Tensor, "B N C"],
        latents: Float[Tensor, "B N C"],
        noise_scale: float,
        conditioning_mask: Float[Tensor, "B N"],
        *unused: Any,
    ) -> Float[Tensor, "B N C"]:
        """The given tokens with new noise, scaled by `noise_scale` t^2; the others as they are."""
        noise_BNC = self.noise.normal("condition", latents.shape).to(latents)
        return torch.where(conditioning_mask[..., None] == 1, init_latents + noise_scale * t**2 * noise_BNC, latents)

    def _encode(self, video_BCFHW: Float[Tensor, "B 3 F H W"]) -> Float[Tensor, "B C f h w"]:
        posterior = self.backbone.encode(video_BCFHW)
        mean_BCfhw = posterior.mean_BCfhw
        if not self.draws_posterior:
            return mean_BCfhw
        return mean_BCfhw + posterior.std_BCfhw * self.noise.normal("posterior", mean_BCfhw.shape).to(mean_BCfhw)


class LinearQuadraticEuler(FlowMatchEulerDiscreteScheduler):
    """Euler on the pipeline's own timesteps, without a shift, so that sigma = t / 1000.

    The pipeline names no sigmas, which diffusers warns about at each prediction; they are named here.
    """

    def set_timesteps(self, timesteps: Float[Tensor, " S"], device: Any = None) -> None:
        """For `timesteps` from 1000 down."""
        listed = timesteps.tolist()
        super().set_timesteps(device=device, sigmas=[t / 1000 for t in listed], timesteps=listed)


class LTXVCondition(Method):
    """The pipeline as a method. Noise is drawn for `posterior`, `latents`, `condition` (each step) and `decode`."""

    def __init__(
        self, options: LTXVConditionOptions, backbone: Backbone, prompt: Prompt | None, negative: Prompt | None
    ) -> None:
        """`prompt`, `negative`: one row each, None is the empty one. Raises `InputError` for a size without a latent,
        or prompts of different length."""
        backbone.geometry.check(options.observed_frames, *options.size)
        embeds, mask = backbone.empty_prompt()
        empty = Prompt(embeds, mask if mask is not None else torch.ones_like(embeds[..., 0]))
        self.options, self.backbone = options, backbone
        self.prompt, self.negative = prompt or empty, negative or empty
        is_empty = prompt is None and negative is None
        self._skipped = skip_reason(self.prompt, None if is_empty else self.negative, options.guidance)
        if self._skipped is None and not self.prompt.joins(self.negative):
            raise InputError("prompt and negative_prompt: give embeddings of the same number of tokens, padded, masked")
        scheduler = LinearQuadraticEuler(shift=1.0, use_dynamic_shifting=False)
        self.pipeline = GivenNoisePipeline(scheduler, backbone.vae, None, None, backbone.transformer)
        self.pipeline.backbone, self.pipeline.draws_posterior = backbone, options.posterior == "sample"
        self.pipeline.set_progress_bar_config(disable=True)

    @property
    def canvas_frames(self) -> int:
        """Frames that the network completes: the observed ones and whole latents for the future; 41 for 17 and 17."""
        temporal = self.backbone.geometry.temporal
        return self.options.observed_frames + -(-self.options.future_frames // temporal) * temporal

    @property
    def spec(self) -> Spec:
        options, geometry = self.options, self.backbone.geometry
        observed, future, canvas = options.observed_frames, options.future_frames, self.canvas_frames
        given = geometry.latent_shape(observed, *options.size)[1]
        latents = geometry.latent_shape(canvas, *options.size)[1]
        kept = (
            f"{canvas} frames in {latents} latents, the first {given} given; decoded as one, "
            f"frames {observed}-{observed + future - 1} kept"
        )
        return Spec(
            "ltxv_condition", options.size, kept, LICENCES, observed, future, options.steps, options.guidance,
            options.steps, options.frame_rate, remarks=self._remarks(),
        )  # fmt: skip

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"vae": self.backbone.vae, "transformer": self.backbone.transformer}

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        first = self.options.observed_frames
        canvas_BCFHW = self._decode(self.predict_latents(observed, noise), noise)
        future_BCGHW = canvas_BCFHW[:, :, first : first + self.options.future_frames]
        return future_BCGHW.transpose(1, 2).float().clamp(-1, 1).to(observed.device)

    @torch.no_grad()
    def predict_latents(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B C f h w"]:
        """The completed canvas as normalised latents, the given ones included; sets `evaluations`."""
        options, batch = self.options, len(observed)
        guidance = 1.0 if self._skipped else options.guidance
        prompt, negative = rows(self.prompt, batch, "prompt"), rows(self.negative, batch, "negative_prompt")
        self.evaluations = Evaluations(guidance_skipped=self._skipped)
        self.pipeline.noise = noise

        def count(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            self.evaluations.guided_evals += 1
            self.evaluations.count_forward(batch if self._skipped else 2 * batch)  # both branches in one call
            return {}

        return self.pipeline(
            conditions=[LTXVideoCondition(video=unit_from_signed(observed))],
            height=options.size[0], width=options.size[1], num_frames=self.canvas_frames,
            frame_rate=options.frame_rate, num_inference_steps=options.steps, guidance_scale=guidance,
            image_cond_noise_scale=options.image_cond_noise_scale,
            prompt_embeds=prompt.embeds_BLD, prompt_attention_mask=prompt.mask_BL,
            negative_prompt_embeds=negative.embeds_BLD, negative_prompt_attention_mask=negative.mask_BL,
            output_type="latent", callback_on_step_end=count,
        ).frames  # fmt: skip

    def _decode(self, latents_BCfhw: Float[Tensor, "B C f h w"], noise: Noise) -> Float[Tensor, "B 3 F H W"]:
        """Pixels of the whole canvas; the noise that the decoder is made for comes from `noise`."""
        vae: Any = self.backbone.vae
        mean_C, std_C = vae.latents_mean.float(), vae.latents_std.float() / vae.config.scaling_factor
        raw_BCfhw = latents_BCfhw.float() * std_C.view(-1, 1, 1, 1) + mean_C.view(-1, 1, 1, 1)
        timestep_B = None
        if vae.config.timestep_conditioning:
            scale = self.options.decode_noise_scale
            raw_BCfhw = (1 - scale) * raw_BCfhw + scale * noise.normal("decode", raw_BCfhw.shape).to(raw_BCfhw)
            timestep_B = raw_BCfhw.new_full((len(raw_BCfhw),), self.options.decode_timestep).to(vae.dtype)
        return vae.decode(raw_BCfhw.to(vae.dtype), timestep_B).sample

    def _remarks(self) -> tuple[str, ...]:
        prompt = "The paper names no prompt: here prompt and negative prompt are those of the given files."
        if self._skipped:
            prompt = f"The paper names no prompt: here {self._skipped}, so guidance is not computed."
        return (
            prompt,
            f"Latents of the observed frames are the posterior's {self.options.posterior}.",
            "No spatiotemporal skip guidance: the paper speaks of CFG only.",
        )


def load_ltxv_condition(options: LTXVConditionOptions) -> LTXVCondition:
    """Raises `InputError` for weights that are not there, and for the first missing, extra or misshapen key."""
    device, dtype = chosen_device(options.device), getattr(torch, options.dtype)
    if options.weights == "random":
        backbone = LTX.random_backbone(options.sizes, dtype, device)
    elif not Path(options.weights).exists():
        raise InputError(f"{options.weights}: no such file; {WHERE}, or use weights=random for memory and latency")
    else:
        backbone = open_backbone(Path(options.weights), LTX.name, dtype, device)
    like_1LD = backbone.empty_prompt()[0]
    prompts = read_prompts(options.prompt, options.negative_prompt, like_1LD)
    return LTXVCondition(options, backbone, *prompts)
