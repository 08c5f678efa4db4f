"""LTX-Video's configuration in the official file's words, turned into arguments of the diffusers classes.

The file carries it as JSON in its safetensors metadata ("config": transformer, vae, scheduler).
"""

import warnings
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from worldmodel.backbones.official import Config, entries_of, require
from worldmodel.errors import InputError

# What the diffusers class computes; a file that says otherwise is another network.
_TRANSFORMER_FIXED: dict[str, Any] = {
    "qk_norm": "rms_norm",
    "standardization_norm": "rms_norm",
    "norm_elementwise_affine": False,
    "activation_fn": "gelu-approximate",
    "positional_embedding_type": "rope",
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "timestep_scale_multiplier": 1000,
}
_VAE_FIXED: dict[str, Any] = {
    "dims": 3,
    "norm_layer": "pixel_norm",
    "use_quant_conv": False,
    "causal_decoder": False,
    "spatial_padding_mode": "zeros",
    "normalize_latent_channels": False,
}
_DOWNSAMPLES = {"compress_space_res": "spatial", "compress_time_res": "temporal", "compress_all_res": "spatiotemporal"}
_LOG_VARIANCES = ("uniform", "constant")


def _residual(layers: int, **options: object) -> list[Any]:
    return ["res_x", {"num_layers": layers, **options}]


# The published model, for files that carry no configuration.
LTX_2B_095: dict[str, Any] = {
    "transformer": {
        "num_attention_heads": 32,
        "attention_head_dim": 64,
        "in_channels": 128,
        "out_channels": 128,
        "num_layers": 28,
        "cross_attention_dim": 2048,
        "caption_channels": 4096,
        "causal_temporal_positioning": True,
    },
    "vae": {
        "latent_channels": 128,
        "encoder_blocks": [
            _residual(4),
            ["compress_space_res", {"multiplier": 2}],
            _residual(6),
            ["compress_time_res", {"multiplier": 2}],
            _residual(6),
            ["compress_all_res", {"multiplier": 2}],
            _residual(2),
            ["compress_all_res", {"multiplier": 2}],
            _residual(2),
        ],
        "decoder_blocks": [_residual(5), *3 * [["compress_all", {"residual": True, "multiplier": 2}], _residual(5)]],
        "encoder_base_channels": 128,
        "decoder_base_channels": 128,
        "patch_size": 4,
        "latent_log_var": "uniform",
        "timestep_conditioning": True,
    },
}


def transformer_arguments(config: Config, path: Path) -> dict[str, Any]:
    """Arguments of `LTXVideoTransformer3DModel`; `InputError` names the entry that is absent or not supported."""
    require(config, _TRANSFORMER_FIXED, f"{path}: config transformer")
    # Upstream reads an absent entry as false: that file was trained without the fix that we position tokens by.
    if config.get("causal_temporal_positioning") is not True:
        raise InputError(
            f"{path}: config transformer.causal_temporal_positioning is not true: positions would not fit this "
            "network; use LTX-Video 0.9.5 or later"
        )
    names = ("num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "num_layers")
    return {
        "attention_bias": config.get("attention_bias", True),
        "norm_eps": config.get("norm_eps", 1e-6),
        **entries_of(config, f"{path}: config transformer", *names, "cross_attention_dim", "caption_channels"),
    }


def vae_arguments(config: Config, path: Path) -> dict[str, Any]:
    """Arguments of `AutoencoderKLLTXVideo` for the 0.9.5 layout: residual blocks with a resampler between each two.

    Both block lists run from fine to coarse. Warns where the log-variance is constant.
    """
    where = f"{path}: config vae"
    require(config, _VAE_FIXED, where)
    _read_log_variance(config, where)
    blocks = entries_of(config, where, "encoder_blocks", "decoder_blocks", "latent_channels", "patch_size")
    down, downs = _alternating(blocks["encoder_blocks"], tuple(_DOWNSAMPLES), f"{where}.encoder_blocks")
    up, ups = _alternating(blocks["decoder_blocks"], ("compress_all",), f"{where}.decoder_blocks")
    kinds = [_DOWNSAMPLES[name] for name, _ in downs]
    down_factors = [options.get("multiplier", 1) for _, options in downs]
    up_factors = [options.get("multiplier", 1) for _, options in ups]
    down_base, up_base = config.get("encoder_base_channels", 128), config.get("decoder_base_channels", 128)
    return {
        "latent_channels": blocks["latent_channels"],
        "patch_size": blocks["patch_size"],
        "block_out_channels": tuple(down_base * prod(down_factors[:i]) for i in range(len(downs) + 1)),
        "down_block_types": ("LTXVideo095DownBlock3D",) * len(downs),
        "downsample_type": tuple(kinds),
        "spatio_temporal_scaling": (True,) * len(downs),
        "layers_per_block": tuple(options["num_layers"] for options in down),
        "decoder_block_out_channels": tuple(up_base * prod(up_factors[: i + 1]) for i in range(len(ups))),
        "decoder_spatio_temporal_scaling": (True,) * len(ups),
        "decoder_layers_per_block": tuple(options["num_layers"] for options in up),
        "decoder_inject_noise": tuple(bool(options.get("inject_noise", False)) for options in up),
        "upsample_residual": tuple(bool(options.get("residual", False)) for _, options in ups),
        "upsample_factor": tuple(up_factors),
        "timestep_conditioning": bool(config.get("timestep_conditioning", False)),
        "spatial_compression_ratio": blocks["patch_size"] * 2 ** sum(kind != "temporal" for kind in kinds),
        "temporal_compression_ratio": 2 ** sum(kind != "spatial" for kind in kinds),
    }


def has_constant_log_variance(config: Config) -> bool:
    """Whether upstream replaces the encoder's log-variance by a constant (-30), whatever the weights say."""
    return config.get("latent_log_var") == "constant"


def _read_log_variance(config: Config, where: str) -> None:
    kind = config.get("latent_log_var", "uniform")
    if kind not in _LOG_VARIANCES:
        raise InputError(f"{where}.latent_log_var is {kind!r}: only {' or '.join(_LOG_VARIANCES)} is supported")
    if kind == "constant":
        warnings.warn(
            f"{where}.latent_log_var is constant: the posterior's std is about 0, so target inversion changes nothing",
            stacklevel=4,
        )


def _alternating(
    blocks: Sequence[Any], resamplers: tuple[str, ...], where: str
) -> tuple[list[Config], list[tuple[str, Config]]]:
    """Split res_x, resampler, res_x, ... into the residual blocks' options and (name, options) of the resamplers."""
    named: list[tuple[str, Config]] = [
        (block[0], block[1] if isinstance(block[1], dict) else {"num_layers": block[1]}) for block in blocks
    ]
    for position, (name, _) in enumerate(named):
        if name not in (resamplers if position % 2 else ("res_x",)):
            raise InputError(f"{where}[{position}] is {name!r}: not the 0.9.5 layout; load the diffusers folder")
    if len(named) % 2 == 0:
        raise InputError(f"{where} ends in {named[-1][0]!r}: not the 0.9.5 layout; load the diffusers folder")
    return [options for _, options in named[::2]], named[1::2]
