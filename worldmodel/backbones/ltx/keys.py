"""LTX-Video's official key names, derived from the diffusers parameter names.

Each function takes a parameter name of the diffusers module and returns the name in the official file, without the
file's prefix. This direction lets a strict load name a missing key as the file would. The pairs of names are those of
diffusers' `loaders/single_file_utils.py` (`convert_ltx_*`), against which a test compares them.
"""

import re

TRANSFORMER_PREFIX = "model.diffusion_model."
VAE_PREFIX = "vae."
VAE_STATISTICS = "per_channel_statistics."
# Carried by the official file, used by no one: channel numbers, and two more statistics of the training set.
VAE_UNUSED = frozenset(VAE_STATISTICS + name for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means"))

_TRANSFORMER = (("proj_in", "patchify_proj"), ("time_embed", "adaln_single"))
_STATISTICS = {"latents_mean": "mean-of-means", "latents_std": "std-of-means"}
# (diffusers, official, block i of diffusers is block factor * i + offset of the file)
_VAE_BLOCKS = (
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0", "encoder.down_blocks", 2, 1),
    (r"^encoder\.down_blocks\.(\d+)", "encoder.down_blocks", 2, 0),
    (r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0", "decoder.up_blocks", 2, 1),
    (r"^decoder\.up_blocks\.(\d+)", "decoder.up_blocks", 2, 2),
)


def transformer_key(name: str) -> str:
    """Official name of an `LTXVideoTransformer3DModel` parameter."""
    head, _, rest = name.partition(".")
    name = ".".join(filter(None, (dict(_TRANSFORMER).get(head, head), rest)))
    return name.replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")


def vae_key(name: str, encoder_blocks: int) -> str:
    """Official name of an `AutoencoderKLLTXVideo` parameter, 0.9.5 layout with that many encoder down blocks.

    The official lists alternate residual blocks and resamplers: encoder blocks 0, 2, 4 ... (the last is the middle)
    and decoder blocks 0 (the middle), 2, 4 ... are residual, the odd ones between them resample.
    """
    if name in _STATISTICS:
        return VAE_STATISTICS + _STATISTICS[name]
    for pattern, official, factor, offset in _VAE_BLOCKS:
        block = re.match(pattern, name)
        if block:
            index = factor * int(block.group(1)) + offset
            return f"{official}.{index}" + name[block.end() :].replace(".resnets.", ".res_blocks.")
    name = re.sub(r"^encoder\.mid_block", f"encoder.down_blocks.{2 * encoder_blocks}", name)
    name = re.sub(r"^decoder\.mid_block", "decoder.up_blocks.0", name)
    name = re.sub(r"^decoder\.(time_embedder|scale_shift_table)", r"decoder.last_\1", name)
    return name.replace(".resnets.", ".res_blocks.")
