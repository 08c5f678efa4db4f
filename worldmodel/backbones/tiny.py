"""`tiny`: the LTX-Video classes at a small configuration, so that everything runs and trains on a CPU.

Nothing here is a model of its own: sizes only. The VAE is laid out like 0.9.5 (`LTXVideo095DownBlock3D`, residual
upsampling that halves the width at each step); every decoder step doubles time and space, hence
temporal ratio = 2^steps and spatial ratio = patch_size * 2^steps.
"""

from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.errors import InputError


def tiny_vae(
    base_channels: int = 16,
    latent_channels: int = 32,
    spatial: int = 16,
    temporal: int = 8,
    encoder_layers: int = 1,
    decoder_layers: int = 1,
    decoder_base_channels: int | None = None,
    timestep_conditioning: bool = False,
    **overrides: object,
) -> AutoencoderKLLTXVideo:
    """A small LTX VAE, randomly initialised.

    `base_channels` (a multiple of 4) is the width at the finest level, doubled at each of log2(temporal) steps;
    `spatial` pixels and `temporal` frames make one latent; `*_layers` residual layers a block. `overrides` replace
    single fields of the `AutoencoderKLLTXVideo` config. Raises `InputError` for ratios that cannot be built.
    """
    steps = temporal.bit_length() - 1
    if temporal < 2 or 2**steps != temporal or spatial % temporal:
        raise InputError(f"tiny VAE of ratios {spatial}x{temporal}: temporal must be 2, 4 or 8 and divide spatial")
    decoder_base = decoder_base_channels or base_channels
    config: dict[str, object] = {
        "latent_channels": latent_channels,
        "block_out_channels": tuple(base_channels * 2**i for i in range(steps + 1)),
        "down_block_types": ("LTXVideo095DownBlock3D",) * steps,
        "downsample_type": ("spatiotemporal",) * steps,
        "spatio_temporal_scaling": (True,) * steps,
        "layers_per_block": (encoder_layers,) * (steps + 1),
        "decoder_block_out_channels": tuple(decoder_base * 2 ** (i + 1) for i in range(steps)),
        "decoder_spatio_temporal_scaling": (True,) * steps,
        "decoder_layers_per_block": (decoder_layers,) * (steps + 1),
        "decoder_inject_noise": (False,) * (steps + 1),
        "upsample_residual": (True,) * steps,
        "upsample_factor": (2,) * steps,
        "patch_size": spatial // temporal,
        "timestep_conditioning": timestep_conditioning,
        "spatial_compression_ratio": spatial,
        "temporal_compression_ratio": temporal,
    }
    return AutoencoderKLLTXVideo(**{**config, **overrides})


def tiny_transformer(
    latent_channels: int = 32,
    layers: int = 4,
    heads: int = 4,
    head_dim: int = 32,
    caption_channels: int = 32,
    **overrides: object,
) -> LTXVideoTransformer3DModel:
    """A small LTX transformer of width heads * head_dim, randomly initialised; `overrides` as in `tiny_vae`."""
    config: dict[str, object] = {
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "num_layers": layers,
        "num_attention_heads": heads,
        "attention_head_dim": head_dim,
        "cross_attention_dim": heads * head_dim,
        "caption_channels": caption_channels,
    }
    return LTXVideoTransformer3DModel(**{**config, **overrides})


def tiny_backbone(
    vae: AutoencoderKLLTXVideo | None = None, transformer: LTXVideoTransformer3DModel | None = None
) -> LTXBackbone:
    """`LTXBackbone` named "tiny" around the given modules, or around `tiny_vae()` and a fitting transformer."""
    vae = vae if vae is not None else tiny_vae()
    transformer = transformer if transformer is not None else tiny_transformer(vae.config.latent_channels)
    backbone = LTXBackbone(vae, transformer, name="tiny")
    backbone.default_guidance = 1.0  # trained without captions: there is nothing to guide by
    return backbone
