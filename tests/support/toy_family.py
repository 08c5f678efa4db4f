"""A third family as somebody would add it: networks of its own, a backbone, and one record.

diffusers finds a component's base class in the component's module, so `ModelMixin` is imported by name.
"""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from worldmodel.backbones.backbone import Backbone, FrameRate, LatentGeometry, Posterior, timesteps
from worldmodel.conventions import PAPER, Conventions
from worldmodel.flow.guidance import Prompt
from worldmodel.models.families import Family

WIDTH = 6


class ToyVAE(ModelMixin, ConfigMixin):
    """Patches of `ratio` x `ratio` pixels of a frame to `channels` numbers and back."""

    @register_to_config
    def __init__(self, channels: int = 4, ratio: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Conv3d(3, channels, (1, ratio, ratio), stride=(1, ratio, ratio))
        self.decoder = nn.ConvTranspose3d(channels, 3, (1, ratio, ratio), stride=(1, ratio, ratio))


class ToyTransformer(ModelMixin, ConfigMixin):
    """A velocity from latents, timestep and the mean of the prompt, in blocks that are named as elsewhere."""

    @register_to_config
    def __init__(self, channels: int = 4, width: int = WIDTH) -> None:
        super().__init__()
        self.proj_in = nn.Linear(channels, 8)
        self.blocks = nn.ModuleList([nn.Linear(8 + width + 1, 8)])
        self.proj_out = nn.Linear(8, channels)

    def forward(self, latents_BNC: Tensor, timestep_B: Tensor, prompt_BD: Tensor) -> Tensor:
        """[B, N, C] to [B, N, C]."""
        given_BD = torch.cat([prompt_BD, timestep_B[:, None] / 1000], dim=1)
        given_BND = given_BD[:, None].expand(-1, latents_BNC.shape[1], -1)
        return self.proj_out(self.blocks[0](torch.cat([self.proj_in(latents_BNC), given_BND], dim=2)).tanh())


class ToyBackbone(Backbone):
    """What the pipeline asks of the two."""

    vae: Any
    transformer: Any
    default_guidance = 2.0
    prompt_width = WIDTH

    def __init__(
        self,
        vae: ToyVAE,
        transformer: ToyTransformer,
        empty_prompt_embeds: Tensor | None = None,
        empty_prompt_mask: Tensor | None = None,
        conventions: Conventions = PAPER,
    ) -> None:
        self.name, self.vae, self.transformer, self.conventions = "toy", vae, transformer, conventions
        self._empty = torch.zeros(1, 1, WIDTH) if empty_prompt_embeds is None else empty_prompt_embeds

    @property
    def geometry(self) -> LatentGeometry:
        return LatentGeometry(self.vae.config.channels, 1, self.vae.config.ratio)

    def encode(self, video_BCFHW: Tensor) -> Posterior:
        mean_BCfhw = self.vae.encoder(video_BCFHW)
        return Posterior(mean_BCfhw, torch.zeros_like(mean_BCfhw))

    def decode(self, latents_BCfhw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.vae.decoder(latents_BCfhw)

    def velocity(
        self,
        latents_BCfhw: Tensor,
        sigma_B: Tensor,
        prompt_embeds: Tensor,
        prompt_mask: Tensor | None = None,
        frame_rate: FrameRate = 12.0,
        conditioning_BCfhw: Tensor | None = None,
        whole_timesteps: bool = False,
    ) -> Tensor:
        prompt_BD = prompt_embeds.mean(dim=1).expand(len(latents_BCfhw), -1)
        tokens_BNC = latents_BCfhw.flatten(2).transpose(1, 2)
        out_BNC = self.transformer(tokens_BNC, timesteps(sigma_B, whole_timesteps), prompt_BD)
        return out_BNC.transpose(1, 2).unflatten(2, latents_BCfhw.shape[2:])

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(1, 4, 1, 1, 1), torch.ones(1, 4, 1, 1, 1)

    def default_scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        return FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)

    def empty_prompt(self) -> tuple[Tensor, Tensor | None]:
        return self._empty, None


def embed_letters(
    texts: list[str], text_encoder: Any, tokenizer: Any, device: torch.device, text_length: int
) -> Prompt:
    """A text's length, for want of an encoder."""
    return Prompt(torch.tensor([[[float(len(text))] * WIDTH] for text in texts], device=device))


TOY = Family(
    name="toy",
    title="the toy model",
    backbone=ToyBackbone,
    vae=ToyVAE,
    transformer=ToyTransformer,
    chunk=(5, (16, 24)),
    weights_licence="none",
    embed=embed_letters,
    text_encoder="T5EncoderModel",
    networks={"real": (ToyVAE, ToyTransformer), "tiny": (ToyVAE, ToyTransformer)},
)
