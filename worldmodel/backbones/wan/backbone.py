"""Wan 2.1 as a `Backbone`: the diffusers modules, their normalisation, their prompt length, their scheduler.

Sources: diffusers 0.42 `pipelines/wan/pipeline_wan.py` and `models/autoencoders/autoencoder_kl_wan.py`; upstream Wan
uses the posterior's mean only, its log-variance (here: std) is in the same output. Shape legend: see `backbone.py`;
L prompt tokens, D prompt width.
"""

from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone, FrameRate, LatentGeometry, Posterior, timesteps
from worldmodel.backbones.dtypes import input_dtype
from worldmodel.conventions import PAPER, Conventions
from worldmodel.errors import InputError


class WanBackbone(Backbone):
    """Wan 2.1 text to video (1.3B and its tiny relatives).

    `text_length` tokens are what the network was trained on: shorter prompts are padded with zeros, unmasked.
    `flow_shift` is the scheduler's; 3.0 is what diffusers ships for this model, the paper does not say.
    `empty_prompt_embeds` "1 L D" is a cached embedding of the empty prompt; without it zeros stand for it.
    `conventions` say what a prediction starts from, its sigmas and whether timesteps are whole.
    """

    vae: Any  # diffusers' classes carry no types for what is read here
    transformer: Any
    text_length: int
    default_guidance = 5.0  # the paper's Table 4

    def __init__(
        self,
        vae: AutoencoderKLWan,
        transformer: WanTransformer3DModel,
        flow_shift: float = 3.0,
        text_length: int = 512,
        empty_prompt_embeds: Float[Tensor, "1 L D"] | None = None,
        empty_prompt_mask: Tensor | None = None,
        name: str = "wan",
        conventions: Conventions = PAPER,
    ) -> None:
        """Raise `InputError` where VAE and transformer do not belong together."""
        if transformer.config.in_channels != vae.config.z_dim:
            raise InputError(
                f"transformer with in_channels {transformer.config.in_channels}: the VAE has {vae.config.z_dim} latent "
                "channels; load a pair that belongs together (text to video, not image to video)"
            )
        self.name = name
        self.conventions, sampling = conventions, conventions.sampling
        self.source, self.first_sigma, self.whole_timesteps = (
            sampling.wan_source,
            sampling.wan_first_sigma,
            sampling.wan_whole_timesteps,
        )
        self.vae = vae
        self.transformer = transformer
        self.flow_shift = flow_shift
        self.text_length = text_length
        # Read now: a wrapped transformer (DDP, compiled) may hide its config later.
        self.prompt_width = transformer.config.text_dim
        self._empty_prompt = (empty_prompt_embeds, empty_prompt_mask)
        self._geometry = LatentGeometry(
            channels=vae.config.z_dim,
            temporal=vae.config.scale_factor_temporal,
            spatial=vae.config.scale_factor_spatial,
            patch=tuple(transformer.config.patch_size),
        )

    @property
    def geometry(self) -> LatentGeometry:
        """Ratios of the loaded modules; Wan 2.1: 16 channels, 4 frames, 8 pixels, patch (1, 2, 2)."""
        return self._geometry

    def encode(self, video_BCFHW: Float[Tensor, "B 3 F H W"]) -> Posterior:
        """Pixels in [-1, 1] to the normalised posterior, float32; `InputError` for a size without a latent."""
        self.geometry.check(*video_BCFHW.shape[-3:])
        posterior = self.vae.encode(video_BCFHW.to(self.vae.dtype)).latent_dist
        mean_1C111, std_1C111 = self.latent_statistics(video_BCFHW.device)
        return Posterior(
            mean_BCfhw=(posterior.mean.float() - mean_1C111) / std_1C111,
            std_BCfhw=torch.exp(0.5 * posterior.logvar.float()) / std_1C111,
        )

    def decode(
        self, latents_BCfhw: Float[Tensor, "B C f h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 3 F H W"]:
        """Normalised latents to pixels, clamped to [-1, 1] by the VAE itself; nothing is drawn from `generator`."""
        mean_1C111, std_1C111 = self.latent_statistics(latents_BCfhw.device)
        raw_BCfhw = latents_BCfhw.float() * std_1C111 + mean_1C111
        pixels_BCFHW: Tensor = self.vae.decode(raw_BCfhw.to(self.vae.dtype)).sample
        return pixels_BCFHW

    def velocity(
        self,
        latents_BCfhw: Float[Tensor, "B C f h w"],
        sigma_B: Float[Tensor, " B"],
        prompt_embeds: Float[Tensor, "#B L D"],
        prompt_mask: Tensor | None = None,
        frame_rate: FrameRate = 12.0,
        conditioning_BCfhw: Float[Tensor, "B C f h w"] | None = None,
        whole_timesteps: bool = False,
    ) -> Float[Tensor, "B C f h w"]:
        """x_source - x_target as predicted, in the latents' dtype; see `Backbone.velocity`.

        Wan's positions count latents, so `frame_rate` changes nothing. Tokens that `prompt_mask` "B L" excludes become
        zeros, as the pipeline's padding. A prompt of batch 1 serves every clip. With a chunk shown in front, timesteps
        go by token, as in Wan 2.2 5B. Raises `InputError` for a prompt longer than `text_length`.
        """
        dtype = input_dtype(self.transformer, "patch_embedding")
        sequence_BCfhw, timestep = latents_BCfhw, timesteps(sigma_B, whole_timesteps)
        if conditioning_BCfhw is not None:
            sequence_BCfhw = torch.cat([conditioning_BCfhw.to(latents_BCfhw), latents_BCfhw], dim=2)
            timestep = torch.cat(
                [
                    torch.zeros(len(timestep), self._tokens(conditioning_BCfhw), device=timestep.device),
                    timestep[:, None].expand(-1, self._tokens(latents_BCfhw)),
                ],
                dim=1,
            )
        predicted_BCfhw: Tensor = self.transformer(
            hidden_states=sequence_BCfhw.to(dtype),
            timestep=timestep,
            encoder_hidden_states=self._padded(prompt_embeds, prompt_mask, len(latents_BCfhw)).to(dtype),
            return_dict=False,
        )[0]
        return predicted_BCfhw[:, :, -latents_BCfhw.shape[2] :].to(latents_BCfhw.dtype)

    def _tokens(self, latents_BCfhw: Tensor) -> int:
        f, h, w = latents_BCfhw.shape[2:]
        patch = self.geometry.patch
        return int((f // patch[0]) * (h // patch[1]) * (w // patch[2]))

    def default_scheduler(self) -> UniPCMultistepScheduler:
        """UniPC over flow sigmas, as the published diffusers repository of this model configures it."""
        return UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=self.flow_shift
        )

    def empty_prompt(self) -> tuple[Float[Tensor, "1 L D"], Tensor | None]:
        """The cached embedding and mask given at construction, else one zero token (padded by `velocity`)."""
        embeds, mask = self._empty_prompt
        weight = next(self.transformer.parameters())
        if embeds is None:
            embeds = torch.zeros(1, 1, self.prompt_width)
        embeds = embeds.to(weight.device, input_dtype(self.transformer, "patch_embedding"))
        return embeds, None if mask is None else mask.to(weight.device)

    def _padded(self, prompt_embeds: Tensor, prompt_mask: Tensor | None, batch: int) -> Tensor:
        if prompt_embeds.shape[1] > self.text_length:
            raise InputError(f"a prompt of {prompt_embeds.shape[1]} tokens: Wan takes {self.text_length}; shorten it")
        if prompt_mask is not None:
            prompt_embeds = prompt_embeds * prompt_mask[..., None].to(prompt_embeds)
        padding = (0, 0, 0, self.text_length - prompt_embeds.shape[1])
        return torch.nn.functional.pad(prompt_embeds, padding).expand(batch, -1, -1)

    def latent_statistics(
        self, device: torch.device | str = "cpu"
    ) -> tuple[Float[Tensor, "1 C 1 1 1"], Float[Tensor, "1 C 1 1 1"]]:
        """Mean and standard deviation of raw latents per channel, published in the VAE's config."""
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)
            for values in (self.vae.config.latents_mean, self.vae.config.latents_std)
        )
        return mean, std
