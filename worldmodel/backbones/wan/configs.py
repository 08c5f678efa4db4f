"""Wan 2.1's configuration in the official words, turned into arguments of the diffusers classes.

The transformer's lies as config.json beside its weights; the VAE's is written in upstream's code alone.
"""

from pathlib import Path
from typing import Any

from worldmodel.backbones.official import Config, entries_of, require

# What the diffusers class computes; a file that says otherwise is another network.
_TRANSFORMER_FIXED: dict[str, Any] = {
    "model_type": "t2v",
    "qk_norm": True,
    "cross_attn_norm": True,
    "patch_size": [1, 2, 2],
}

# The published model, for files that carry no configuration.
WAN_21_13B: dict[str, Any] = {
    "transformer": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30},
    "vae": {"dim": 96, "z_dim": 16},
}


def transformer_arguments(config: Config, path: Path) -> dict[str, Any]:
    """Arguments of `WanTransformer3DModel` (text to video)."""
    where = f"{path}: config transformer"
    require(config, _TRANSFORMER_FIXED, where)
    sizes = entries_of(config, where, "dim", "num_heads", "ffn_dim", "num_layers")
    return {
        "num_attention_heads": sizes["num_heads"],
        "attention_head_dim": sizes["dim"] // sizes["num_heads"],
        "ffn_dim": sizes["ffn_dim"],
        "num_layers": sizes["num_layers"],
        "in_channels": config.get("in_dim", 16),
        "out_channels": config.get("out_dim", 16),
        "text_dim": config.get("text_dim", 4096),
        "freq_dim": config.get("freq_dim", 256),
        "eps": config.get("eps", 1e-6),
    }


def vae_arguments(config: Config, path: Path) -> dict[str, Any]:
    """Arguments of `AutoencoderKLWan` (2.1 layout); statistics are Wan 2.1's unless the config has some."""
    sizes = entries_of(config, f"{path}: config vae", "dim", "z_dim")
    temporal = config.get("temperal_downsample", [False, True, True])
    multipliers = config.get("dim_mult", [1, 2, 4, 4])
    statistics = {name: config[name] for name in ("latents_mean", "latents_std") if name in config}
    return {
        "base_dim": sizes["dim"],
        "z_dim": sizes["z_dim"],
        "dim_mult": list(multipliers),
        "num_res_blocks": config.get("num_res_blocks", 2),
        "temperal_downsample": list(temporal),
        "scale_factor_temporal": 2 ** sum(temporal),
        "scale_factor_spatial": 2 ** (len(multipliers) - 1),
        **statistics,
    }
