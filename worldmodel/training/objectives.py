"""What a run minimises. The loop is one; what differs between trainings lives here.

An objective is a module: its `forward` takes a batch of its own dataset and gives a loss and figures to log, so that
accelerate wraps it as a whole. Parameters that are not trained do not require gradients.

Shape legend: B batch, F frames, H height, W width, 3 colours; C f h w are latents.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from worldmodel.backbones.backbone import Backbone
from worldmodel.flow import couplings, path
from worldmodel.training.config import AutoencoderConfig

Losses = dict[str, Tensor]
"""`loss` is minimised; whatever else is there is logged."""


Latents = dict[str, Tensor]
"""A batch of the latent cache: `mean` [B, 2, C, f, h, w], `std` and perhaps `noise` [B, C, f, h, w]."""


class Objective(nn.Module, ABC):
    """A loss over batches, and which parameters it trains."""

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The diffusers module that is trained."""

    def freeze_the_rest(self, *others: nn.Module) -> None:
        """Train `self.trained` and nothing of `others`."""
        for other in others:
            other.requires_grad_(False).eval()
        self.trained.requires_grad_(True).train()


class Reconstruction(Objective):
    """Train the VAE to reconstruct crops: squared error, a little absolute error, a little KL."""

    def __init__(self, backbone: Backbone, config: AutoencoderConfig) -> None:
        super().__init__()
        self.vae, self.config = backbone.vae, config
        self.freeze_the_rest(backbone.transformer)

    @property
    def trained(self) -> nn.Module:
        return self.vae

    def forward(self, chunks_B3FHW: UInt8[Tensor, "B 3 F H W"]) -> Losses:
        """Losses of frames in [-1, 1]; `psnr` is that of the batch on [0, 1]."""
        video = chunks_B3FHW.float() / 127.5 - 1
        posterior = self.vae.encode(video).latent_dist
        error = self.vae.decode(posterior.sample()).sample.float() - video
        mean, variance, log_variance = posterior.mean.float(), posterior.var.float(), posterior.logvar.float()
        mse, kl = error.square().mean(), (mean.square() + variance - 1 - log_variance).mean() / 2
        loss = mse + self.config.l1 * error.abs().mean() + self.config.kl * kl
        psnr = -10 * torch.log10(mse.detach() / 4)
        return {"loss": loss, "psnr": psnr, "kl": kl.detach(), "std": posterior.std.detach().float().mean()}


class FlowObjective(Objective):
    """Velocity regression on the path from a source to a target (paper eq. 2)."""

    embeds_1LD: Tensor

    def __init__(self, backbone: Backbone, sigma: str, frame_rate: float, shift: float | None = None) -> None:
        super().__init__()
        self.backbone, self.sigma, self.frame_rate, self.shift = backbone, sigma, frame_rate, shift
        self.transformer = backbone.transformer
        self.freeze_the_rest(backbone.vae)
        embeds, mask = backbone.empty_prompt()
        self.register_buffer("embeds_1LD", embeds, persistent=False)
        self.mask_1L = mask

    @property
    def trained(self) -> nn.Module:
        return self.transformer

    @abstractmethod
    def coupling(self, latents: Latents) -> couplings.Coupling:
        """Source and target of a batch of the latent cache."""

    def forward(self, latents: Latents) -> Losses:
        """Mean squared error of the velocity at one drawn sigma per pair."""
        source, target = self.coupling({name: tensor.float() for name, tensor in latents.items()})
        at = path.sample(source, target, self.draw_sigmas(target))
        prompt = self.embeds_1LD.expand(len(target), -1, -1)
        velocity = self.backbone.velocity(at.x_sigma, at.sigma, prompt, self.mask_1L, self.frame_rate)
        loss = (velocity.float() - at.velocity).square().mean()
        return {"loss": loss, "unexplained": loss.detach() / at.velocity.square().mean()}

    def draw_sigmas(self, target_BCfhw: Tensor) -> Tensor:
        """One sigma per pair (Table 3: shifted logit-normal for LTX, uniform for Wan)."""
        batch, device = len(target_BCfhw), target_BCfhw.device
        if self.sigma == "uniform":
            return path.uniform_sigmas(batch, device=device)
        patch = self.backbone.geometry.patch
        tokens = target_BCfhw[0, 0].numel() // (patch[0] * patch[1] * patch[2])
        shift = path.ltx_shift(tokens) if self.shift is None else self.shift
        return path.logit_normal_sigmas(batch, device=device, shift=shift)


class NoiseToVideo(FlowObjective):
    """From noise to a chunk, as text-to-video models are pretrained; observed and future chunks serve alike."""

    def coupling(self, latents: Latents) -> couplings.Coupling:
        both_BCfhw = latents["mean"].flatten(0, 1)
        chunks = both_BCfhw[torch.randperm(len(both_BCfhw))[: len(both_BCfhw) // 2]]
        return couplings.Coupling(torch.randn_like(chunks), chunks)


class FlowFrames(FlowObjective):
    """From the observed chunk to the one right after it, with target inversion (paper Algorithm 1).

    With `rho` 0 no source is mixed: Algorithm 3.
    """

    def __init__(
        self, backbone: Backbone, sigma: str, frame_rate: float, shift: float | None = None, rho: float = 0.7
    ) -> None:
        super().__init__(backbone, sigma, frame_rate, shift)
        self.rho = rho

    def coupling(self, latents: Latents) -> couplings.Coupling:
        observed, future = latents["mean"].unbind(1)
        if self.rho == 0:
            return couplings.inherent(observed, future)
        return couplings.target_inverted(observed, latents["std"], future, latents["noise"], self.rho)


class IndependentChunks(FlowObjective):
    """From the observed chunk of another pair of the batch (paper Algorithm 2)."""

    def coupling(self, latents: Latents) -> couplings.Coupling:
        observed, future = latents["mean"].unbind(1)
        return couplings.independent(observed, future)
