"""What a run minimises. The loop is one; what differs between trainings lives here.

An objective is a module: its `forward` takes a batch and gives a loss and figures to log, so that accelerate wraps it
as a whole. Parameters that are not trained do not require gradients. Random numbers follow from the batch's seeds
alone.

Shape legend: B batch, F frames, H height, W width, 3 colours; C f h w are latents.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from worldmodel.backbones.backbone import Backbone
from worldmodel.conventions import conventions_of
from worldmodel.datasets.pairs import Batch, LatentPair
from worldmodel.flow import couplings, path
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import signed_from_uint8
from worldmodel.training.config import AutoencoderConfig, TrainConfig
from worldmodel.training.latents import common_rate
from worldmodel.training.order import Draws

Losses = dict[str, Tensor]
"""`loss` is minimised; whatever else is there is logged."""


class Objective(nn.Module, ABC):
    """A loss over batches, and which parameters it trains."""

    pipeline_class: type[FlowFramesPipeline] = FlowFramesPipeline

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The diffusers module that is trained; of it, the parameters that require gradients."""


class Reconstruction(Objective):
    """Train the VAE to reconstruct crops: squared error, a little absolute error, a little KL."""

    def __init__(self, backbone: Backbone, config: AutoencoderConfig) -> None:
        super().__init__()
        self.vae, self.config = backbone.vae, config

    @property
    def trained(self) -> nn.Module:
        trained: nn.Module = self.vae
        return trained

    def forward(self, batch: Batch) -> Losses:
        """Losses of the batch's crops; `psnr` is that of the batch on [0, 1]."""
        assert batch.pixels is not None
        video = signed_from_uint8(batch.pixels)
        posterior = self.vae.encode(video).latent_dist
        latents = posterior.mean + posterior.std * Draws(batch.seeds).normal_like(posterior.mean)
        error = self.vae.decode(latents).sample.float() - video
        mean, variance, log_variance = posterior.mean.float(), posterior.var.float(), posterior.logvar.float()
        mse, kl = error.square().mean(), (mean.square() + variance - 1 - log_variance).mean() / 2
        loss = mse + self.config.l1 * error.abs().mean() + self.config.kl * kl
        psnr = -10 * torch.log10(mse.detach() / 4)
        return {"loss": loss, "psnr": psnr, "kl": kl.detach(), "std": posterior.std.detach().float().mean()}


class FlowObjective(Objective):
    """Velocity regression on the path from a source to a target (paper eq. 2)."""

    embeds_1LD: Tensor

    def __init__(self, backbone: Backbone, config: TrainConfig) -> None:
        super().__init__()
        self.backbone, self.config = backbone, config
        backbone.conventions = conventions_of(config.conventions)
        self.conventions = backbone.conventions.training
        self.transformer = backbone.transformer
        embeds, mask = backbone.empty_prompt()
        self.register_buffer("embeds_1LD", embeds, persistent=False)
        self.mask_1L = mask

    @property
    def trained(self) -> nn.Module:
        trained: nn.Module = self.transformer
        return trained

    @abstractmethod
    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        """Source and target of a batch."""

    def conditioning(self, latents: LatentPair) -> Tensor | None:
        """What the network sees in front of x_sigma; of FlowFrames nothing."""
        return None

    def forward(self, batch: Batch, draws: Draws | None = None) -> Losses:
        """Mean squared error of the velocity at one drawn sigma per pair; `draws` None follows from the batch."""
        assert batch.latents is not None
        latents = in_float32(batch.latents)
        at = self.path_sample(latents, self.draws_of(batch) if draws is None else draws)
        prompt, mask = latents.prompt, latents.prompt_mask
        if prompt is None:
            prompt, mask = self.embeds_1LD.expand(len(at.sigma), -1, -1), self.mask_1L
        rate = self.conventions.frame_rate or common_rate(batch.frame_rates)
        velocity = self.backbone.velocity(
            at.x_sigma, at.sigma, prompt, mask, rate, self.conditioning(latents), self.conventions.whole_timesteps
        )
        loss = (velocity.float() - at.velocity).square().mean()
        return {"loss": loss, "unexplained": loss.detach() / at.velocity.square().mean()}

    def draws_of(self, batch: Batch) -> Draws:
        """The random numbers of a batch."""
        seed = self.conventions.target_seed
        targets = None if seed is None else [seed + number for number in batch.numbers]
        return Draws(batch.seeds, targets, batch.coins if self.conventions.coin == "batch" else None)

    def path_sample(self, latents: LatentPair, draws: Draws) -> path.PathSample:
        """Where on the path the network is asked, and what it should say there."""
        if self.conventions.target == "sample":
            (observed, future), future_std = latents.mean.unbind(1), latents.future_std
            assert future_std is not None
            drawn = future + future_std * draws.target_normal_like(future_std)
            latents = replace(latents, mean=torch.stack([observed, drawn], dim=1))
        source, target = self.coupling(latents, draws)
        return path.sample(source, target, self.draw_sigmas(target, draws))

    def draw_sigmas(self, target_BCfhw: Tensor, draws: Draws) -> Tensor:
        """One sigma per pair (Table 3: shifted logit-normal for LTX, uniform for Wan)."""
        if self.config.sigma == "uniform":
            drawn = [path.uniform_sigmas(1, row) for row in draws.rows]
        else:
            patch = self.backbone.geometry.patch
            tokens = target_BCfhw[0, 0].numel() // (patch[0] * patch[1] * patch[2])
            shift = path.ltx_shift(tokens) if self.config.sigma_shift is None else self.config.sigma_shift
            drawn = [path.logit_normal(normal, shift) for normal in draws.normal().split(1)]
        return torch.cat(drawn).to(target_BCfhw.device)


class FlowFramesObjective(FlowObjective):
    """From the observed chunk to the one right after it, with target inversion (paper Algorithm 1).

    With `rho` 0 no source is mixed: Algorithm 3.
    """

    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        observed, future = latents.mean.unbind(1)
        if not self.config.rho:
            return couplings.inherent(observed, future)
        noise, rho = latents.noise, self.config.rho
        assert noise is not None
        if self.conventions.mixing == "denormalised":
            mean, std = (statistic.to(noise.device) for statistic in self.backbone.latent_statistics())
            noise = noise * std + mean
        return couplings.target_inverted(observed, latents.std, future, noise, rho, draws.coins())


class IndependentChunks(FlowObjective):
    """From the observed chunk of another pair of the batch (paper Algorithm 2)."""

    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        observed, future = latents.mean.unbind(1)
        return couplings.independent(observed, future, draws.rows[0])


class MinibatchTransport(FlowObjective):
    """From the batch's observed to its future chunks by optimal transport (Pooladian et al. 2023, Tong et al. 2024)."""

    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        return couplings.minibatch_optimal_transport(*latents.mean.unbind(1))


class NoiseConditioned(FlowObjective):
    """From noise to the future chunk, with the observed one shown at timestep 0: the conventional design.

    As LTXVCondition is trained and sampled (paper Fig. 1a), with both chunks encoded separately. Twice the tokens.
    """

    pipeline_class = NoiseConditionedPipeline

    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        future = latents.mean[:, 1]
        return couplings.Coupling(draws.normal_like(future), future)

    def conditioning(self, latents: LatentPair) -> Tensor:
        return latents.mean[:, 0]


class NoiseToVideo(FlowObjective):
    """From noise to a chunk, as text-to-video models are pretrained; observed and future chunks serve alike."""

    def coupling(self, latents: LatentPair, draws: Draws) -> couplings.Coupling:
        which_B = (draws.uniform() < 0.5).long()
        chunks = latents.mean[torch.arange(len(which_B)), which_B]
        return couplings.Coupling(draws.normal_like(chunks), chunks)


def in_float32(latents: LatentPair) -> LatentPair:
    """Latents in float32, since a cache holds float16; prompts as they are."""
    unprompted = replace(latents, prompt=None, prompt_mask=None).each(Tensor.float)
    return replace(unprompted, prompt=latents.prompt, prompt_mask=latents.prompt_mask)


FLOWS: dict[str, type[FlowObjective]] = {
    "flowframes": FlowFramesObjective,
    "independent": IndependentChunks,
    "minibatch_ot": MinibatchTransport,
    "noise_conditioned": NoiseConditioned,
    "noise_to_video": NoiseToVideo,
}


def objective_of(config: TrainConfig, backbone: Backbone) -> Objective:
    """The objective that `config` names."""
    if config.objective == "autoencoder":
        return Reconstruction(backbone, config.autoencoder)
    return FLOWS[config.objective](backbone, config)
