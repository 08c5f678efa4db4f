"""Sizes of Vista's (and GEM's) networks in the official words, turned into arguments of the diffusers classes.

Sources: Vista `configs/inference/vista.yaml`; open_clip's ViT-H-14. `REAL` is the published model, `TINY` the same
layers at sizes for tests.
"""

from collections.abc import Mapping
from typing import Any, Literal

from transformers import CLIPVisionConfig

from worldmodel.errors import InputError

Config = Mapping[str, Any]
Sizes = Literal["real", "tiny"]

REAL: dict[str, dict[str, Any]] = {
    "unet": {
        "adm_in_channels": 768,
        "in_channels": 8,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "num_head_channels": 64,
        "context_dim": 1024,
    },
    "vae": {"z_channels": 4, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2},
    "clip": {"embed_dim": 1024, "image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
}
TINY: dict[str, dict[str, Any]] = {
    "unet": REAL["unet"] | {"model_channels": 32, "channel_mult": [1, 1, 1, 1], "num_head_channels": 16}
    | {"num_res_blocks": 1, "context_dim": 24},
    "vae": REAL["vae"] | {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    "clip": {"embed_dim": 24, "image_size": 224, "layers": 2, "width": 32, "head_width": 16, "patch_size": 56},
}  # fmt: skip
SIZES: dict[str, dict[str, dict[str, Any]]] = {"real": REAL, "tiny": TINY}

# What the class computes; a configuration that says otherwise is another network.
_UNET_FIXED = {
    "attention_resolutions": [4, 2, 1],
    "use_linear_in_transformer": True,
    "transformer_depth": 1,
    "extra_ff_mix_layer": True,
    "use_spatial_context": True,
    "merge_strategy": "learned_with_images",
    "video_kernel_size": [3, 1, 1],
    "add_lora": False,
    "action_control": True,
}
_VAE_FIXED = {"double_z": True, "attn_resolutions": [], "attn_type": "vanilla", "in_channels": 3, "out_ch": 3}


def unet_arguments(config: Config) -> dict[str, Any]:
    """Arguments of `VistaUNet`; `InputError` names the entry that is not supported."""
    _require(config, _UNET_FIXED, "unet")
    channels = tuple(config["model_channels"] * factor for factor in config["channel_mult"])
    if len(channels) != 4:
        raise InputError(f"unet.channel_mult={config['channel_mult']}: four levels are expected, as in Vista's file")
    return {
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "block_out_channels": channels,
        "addition_time_embed_dim": config["adm_in_channels"] // 3,
        "projection_class_embeddings_input_dim": config["adm_in_channels"],
        "layers_per_block": config["num_res_blocks"],
        "cross_attention_dim": config["context_dim"],
        "num_attention_heads": tuple(width // config["num_head_channels"] for width in channels),
    }


def vae_arguments(config: Config) -> dict[str, Any]:
    """Arguments of `AutoencoderKLTemporalDecoder`; `InputError` names the entry that is not supported."""
    _require(config, _VAE_FIXED, "vae")
    channels = tuple(config["ch"] * factor for factor in config["ch_mult"])
    return {
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "block_out_channels": channels,
        "layers_per_block": config["num_res_blocks"],
        "latent_channels": config["z_channels"],
    }


def encoder_arguments(config: Config) -> dict[str, Any]:
    """Arguments of diffusers' `Encoder`, for the encoder that the conditioner has beside the VAE's."""
    arguments = vae_arguments(config)
    return arguments | {"out_channels": arguments.pop("latent_channels"), "double_z": True}


def clip_config(config: Config) -> CLIPVisionConfig:
    """The transformers configuration of an open_clip vision tower."""
    return CLIPVisionConfig(
        hidden_size=config["width"],
        intermediate_size=4 * config["width"],
        num_hidden_layers=config["layers"],
        num_attention_heads=config["width"] // config["head_width"],
        image_size=config["image_size"],
        patch_size=config["patch_size"],
        projection_dim=config["embed_dim"],
        hidden_act="gelu",
    )


def _require(config: Config, fixed: Config, where: str) -> None:
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise InputError(f"{where}.{name} is {config[name]!r}: only {value!r} is supported; use a file that has it")
