"""The model that a run starts from, and, frozen, what makes latents and noise for it."""

import copy
from dataclasses import dataclass

import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.checkpoints import shipped_names
from worldmodel.conventions import conventions_of
from worldmodel.errors import InputError
from worldmodel.models.checkpoint import is_ours, place_of
from worldmodel.models.open import open_pipeline, open_text_encoder
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.captions import CaptionEncoder
from worldmodel.training.config import TinyModelConfig, TrainConfig
from worldmodel.training.latents import LatentEncoder


@dataclass(frozen=True)
class StartingModel:
    """A model before its training.

    Attributes:
        pipeline: what will be trained.
        captions: embeds captions; None where the network sees the empty prompt.
        encoder: makes latents of frames, with the pretrained weights, whatever is trained of the pipeline later.
    """

    pipeline: FlowFramesPipeline
    captions: CaptionEncoder | None
    encoder: LatentEncoder


def open_model(config: TrainConfig, device: torch.device) -> StartingModel:
    """The starting model of a run on `device`, with nothing that requires gradients yet."""
    pipeline = starting_pipeline(config)
    pipeline.to(device)
    captions = CaptionEncoder(pipeline, device) if config.captioned else None
    steps = config.inversion_steps if config.inverts else 0
    encoder = LatentEncoder(_frozen(config, pipeline), steps, config.precision, captions)
    return StartingModel(pipeline, captions, encoder)


def starting_pipeline(config: TrainConfig) -> FlowFramesPipeline:
    """The pipeline that a run starts from, in float32."""
    if config.pretrained is None:
        if config.objective != "autoencoder":
            raise InputError(f"objective={config.objective} needs a trained VAE: give pretrained=FOLDER")
        return _new_tiny(config.model, config.autoencoder.log_variance)
    try:
        pipeline = open_pipeline(
            config.pretrained, config.transformer, config.conventions, dtype=torch.float32, device="cpu", text=False
        )
        if config.captioned and not is_ours(place_of(config.pretrained)):
            encoder, tokenizer = open_text_encoder(config.pretrained, pipeline.family)
            pipeline.register_modules(text_encoder=encoder, tokenizer=tokenizer)
        if config.captioned and pipeline.text_encoder is not None:
            pipeline.cache_empty_prompt()
        return pipeline
    except InputError as error:
        known = ", ".join(shipped_names())
        raise InputError(f"pretrained={config.pretrained}: {error} (or one that is shipped: {known})") from error


def check_guidance(config: TrainConfig, pipeline: FlowFramesPipeline) -> None:
    """Refuse validation that would end the run when it comes: guided by texts that nobody can read."""
    guided = config.captioned and pipeline.backbone.default_guidance != 1
    if config.validation.every and guided and not pipeline.text_encoder and not pipeline.negative_prompt_cache:
        raise InputError(
            f"validation.every={config.validation.every}: conventions={config.conventions} predicts with guidance, and "
            "pretrained has no text encoder; give one that has, or validation.every=0"
        )


def _new_tiny(sizes: TinyModelConfig, log_variance: float) -> FlowFramesPipeline:
    vae = tiny_vae(sizes.vae_channels, sizes.latent_channels, sizes.spatial, sizes.temporal)
    with torch.no_grad():
        vae.encoder.conv_out.conv.bias[-1] = log_variance
    transformer = tiny_transformer(
        sizes.latent_channels, sizes.layers, sizes.heads, sizes.head_dim, sizes.caption_channels
    )
    return FlowFramesPipeline.from_backbone(tiny_backbone(vae, transformer))


def _frozen(config: TrainConfig, pipeline: FlowFramesPipeline) -> Backbone:
    """The pretrained model as it is before training; a copy of its network where it inverts while that is trained."""
    pipeline.vae.requires_grad_(False).eval()
    pipeline.transformer.requires_grad_(False).eval()
    frozen: Backbone = pipeline.backbone
    frozen.conventions = conventions_of(config.conventions)
    if config.inverts and not config.data.latent_cache:
        frozen.transformer = copy.deepcopy(pipeline.transformer)
    return frozen
