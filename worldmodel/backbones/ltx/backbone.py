"""LTX-Video as a `Backbone`: the diffusers modules, their normalisation, their positions, their decode noise.

Sources: diffusers 0.42 `pipelines/ltx/pipeline_ltx_condition.py` (positions, normalisation, decoding) and
`models/autoencoders/autoencoder_kl_ltx.py`; LTX-Video's own 2B 0.9.5 settings (decode timestep 0.05, noise 0.025).
Shape legend: see `backbone.py`; N tokens = f * h * w, L prompt tokens, D prompt width, 3 = (time, row, column).
"""

from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXVideoTransformer3DModel
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.backbone import Backbone, FrameRate, LatentGeometry, Posterior, timesteps
from worldmodel.backbones.dtypes import input_dtype
from worldmodel.backbones.ltx.positions import frame_coords, video_coords
from worldmodel.conventions import PAPER, Conventions
from worldmodel.errors import InputError


class LTXBackbone(Backbone):
    """LTX-Video (2B 0.9.5 and its tiny relatives).

    `conventions` say where latents lie in time, and what a decoder that is conditioned on a timestep is told unless
    `decode_timestep` and `decode_noise_scale` do.
    `empty_prompt_embeds` "1 L D" (with `empty_prompt_mask` "1 L") is a cached embedding of the empty prompt; without it
    one zero token stands for the empty prompt.
    """

    vae: Any  # diffusers' classes carry no types for what is read here
    transformer: Any
    default_guidance = 3.5  # the paper's Table 4

    def __init__(
        self,
        vae: AutoencoderKLLTXVideo,
        transformer: LTXVideoTransformer3DModel,
        decode_timestep: float | None = None,
        decode_noise_scale: float | None = None,
        empty_prompt_embeds: Float[Tensor, "1 L D"] | None = None,
        empty_prompt_mask: Tensor | None = None,
        name: str = "ltx",
        conventions: Conventions = PAPER,
    ) -> None:
        """Raise `InputError` where VAE and transformer do not belong together."""
        if transformer.config.in_channels != vae.config.latent_channels:
            raise InputError(
                f"transformer with in_channels {transformer.config.in_channels}: the VAE has "
                f"{vae.config.latent_channels} latent channels; load a pair that belongs together"
            )
        if (transformer.config.patch_size_t, transformer.config.patch_size) != (1, 1):
            raise InputError("transformer with patch_size other than 1: LTX-Video uses 1; check its config.json")
        self.name = name
        self.vae = vae
        self.transformer = transformer
        self.conventions = conventions
        sampling = conventions.sampling
        self.decode_timestep = sampling.decode_timestep if decode_timestep is None else decode_timestep
        self.decode_noise_scale = sampling.decode_noise_scale if decode_noise_scale is None else decode_noise_scale
        # Read now: a wrapped transformer (DDP, compiled) may hide its config later.
        self.prompt_width = transformer.config.caption_channels
        self._empty_prompt = (empty_prompt_embeds, empty_prompt_mask)
        self._geometry = LatentGeometry(
            channels=vae.config.latent_channels,
            temporal=vae.temporal_compression_ratio,
            spatial=vae.spatial_compression_ratio,
        )

    @property
    def geometry(self) -> LatentGeometry:
        """Ratios of the loaded VAE; LTX 0.9.5: 128 channels, 8 frames, 32 pixels."""
        return self._geometry

    def encode(self, video_BCFHW: Float[Tensor, "B 3 F H W"]) -> Posterior:
        """Pixels in [-1, 1] to the normalised posterior, float32; `InputError` for a size without a latent."""
        self.geometry.check(*video_BCFHW.shape[-3:])
        posterior = self.vae.encode(video_BCFHW.to(self.vae.dtype)).latent_dist
        mean_1C111, scale_1C111 = self.latent_statistics()
        return Posterior(
            mean_BCfhw=(posterior.mean.float() - mean_1C111) / scale_1C111,
            std_BCfhw=torch.exp(0.5 * posterior.logvar.float()) / scale_1C111,
        )

    def decode(
        self, latents_BCfhw: Float[Tensor, "B C f h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 3 F H W"]:
        """Normalised latents to pixels, about [-1, 1] (not clamped), in the VAE's dtype.

        A timestep-conditioned decoder sees latents mixed with a little noise. It is drawn from `generator`; without
        one, from a fixed seed and equal for every clip of the batch, so that a prediction is deterministic and does
        not depend on which other clips are decoded with it.
        """
        mean_1C111, scale_1C111 = self.latent_statistics()
        raw_BCfhw = latents_BCfhw.float() * scale_1C111 + mean_1C111
        timestep_B = None
        if self.vae.config.timestep_conditioning:
            # The decoder of 0.9.5 does the last step of denoising itself: it expects latents with a little noise and
            # is told how much. The noise is mixed into raw latents, not the normalised ones, as upstream does.
            noise_BCfhw = self._decode_noise(raw_BCfhw, generator)
            raw_BCfhw = (1 - self.decode_noise_scale) * raw_BCfhw + self.decode_noise_scale * noise_BCfhw
            timestep_B = raw_BCfhw.new_full((len(raw_BCfhw),), self.decode_timestep)
        vae_dtype = self.vae.dtype
        timestep_B = None if timestep_B is None else timestep_B.to(vae_dtype)
        pixels_BCFHW: Tensor = self.vae.decode(raw_BCfhw.to(vae_dtype), timestep_B).sample
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

        One timestep a clip: the network broadcasts it over the tokens, which gives the same numbers as repeating it
        per token (tested) without computing its embedding once a token. With a chunk shown in front, timesteps go by
        token. A prompt of batch 1 serves every clip.
        """
        batch = len(latents_BCfhw)
        timestep_BN = timesteps(sigma_B, whole_timesteps)[:, None]
        sequence_BCfhw = latents_BCfhw
        if conditioning_BCfhw is not None:
            tokens = latents_BCfhw[0, 0].numel()
            conditioning_BN = torch.zeros(batch, conditioning_BCfhw[0, 0].numel(), device=timestep_BN.device)
            timestep_BN = torch.cat([conditioning_BN, timestep_BN.expand(-1, tokens)], dim=1)
            sequence_BCfhw = torch.cat([conditioning_BCfhw.to(latents_BCfhw), latents_BCfhw], dim=2)
        dtype = input_dtype(self.transformer, "proj_in")
        if len(prompt_embeds) != batch:
            prompt_embeds = prompt_embeds.expand(batch, -1, -1)
        if prompt_mask is not None and len(prompt_mask) != batch:
            prompt_mask = prompt_mask.expand(batch, -1)
        tokens_BNC: Tensor = self.transformer(
            hidden_states=sequence_BCfhw.flatten(2).transpose(1, 2).to(dtype),
            encoder_hidden_states=prompt_embeds.to(dtype),
            timestep=timestep_BN,
            encoder_attention_mask=prompt_mask,
            video_coords=self.video_coords(latents_BCfhw, frame_rate, conditioning_BCfhw),
            return_dict=False,
        )[0]
        predicted_BNC = tokens_BNC[:, -latents_BCfhw[0, 0].numel() :]
        return predicted_BNC.transpose(1, 2).unflatten(2, latents_BCfhw.shape[2:]).to(latents_BCfhw.dtype)

    def video_coords(
        self, latents_BCfhw: Tensor, frame_rate: FrameRate, conditioning_BCfhw: Tensor | None = None
    ) -> Float[Tensor, "#B 3 N"]:
        """Seconds, rows and columns of the tokens; a chunk shown in front comes first, in time too."""
        temporal, spatial, device = self.geometry.temporal, self.geometry.spatial, latents_BCfhw.device
        causal = self.conventions.positions == "causal"
        f, h, w = latents_BCfhw.shape[2:]
        if conditioning_BCfhw is None:
            return video_coords(frame_coords((f, h, w), temporal, spatial, 0, device, causal), frame_rate)
        before = conditioning_BCfhw.shape[2]
        # The flowing chunk begins right behind the other's last frame; its first latent is one frame again, for it was
        # encoded on its own.
        frames = (before - 1) * temporal + 1 if causal else before * temporal
        parts = (
            frame_coords((before, h, w), temporal, spatial, 0, device, causal),
            frame_coords((f, h, w), temporal, spatial, frames, device, causal),
        )
        return video_coords(torch.cat(parts, dim=2), frame_rate)

    def default_scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        """Euler without shift: sigma and timestep then agree whatever sigmas the solver passes."""
        return FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)

    def empty_prompt(self) -> tuple[Float[Tensor, "1 L D"], Tensor | None]:
        """The cached embedding and mask given at construction, else one zero token with mask 1."""
        embeds, mask = self._empty_prompt
        weight = next(self.transformer.parameters())
        if embeds is None:
            embeds, mask = torch.zeros(1, 1, self.prompt_width), torch.ones(1, 1)
        embeds = embeds.to(weight.device, input_dtype(self.transformer, "proj_in"))
        return embeds, None if mask is None else mask.to(weight.device)

    def latent_statistics(self) -> tuple[Float[Tensor, "1 C 1 1 1"], Float[Tensor, "1 C 1 1 1"]]:
        """Mean, and standard deviation over scaling factor, of raw latents per channel, on the VAE's device."""
        mean_C, std_C = self.vae.latents_mean.float(), self.vae.latents_std.float()
        shape = (1, -1, 1, 1, 1)
        return mean_C.view(shape), std_C.view(shape) / self.vae.config.scaling_factor

    def _decode_noise(self, like_BCfhw: Tensor, generator: torch.Generator | None) -> Tensor:
        shape = tuple(like_BCfhw.shape)
        if generator is None:
            # One noise for every clip: a prediction then depends neither on the batch nor on who predicted before.
            generator, shape = torch.Generator("cpu").manual_seed(0), (1, *shape[1:])
        noise: Tensor = randn_tensor(shape, generator=generator, device=like_BCfhw.device, dtype=like_BCfhw.dtype)
        return noise
