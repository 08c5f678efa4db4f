"""The official checkpoints' key names, derived from the diffusers parameter names.

Each function takes a parameter name of the diffusers module and returns the name in the official file, without the
file's prefix. This direction lets a strict load name a missing key as the file would. The pairs of names are those of
diffusers' `loaders/single_file_utils.py` (`convert_ltx_*`, `convert_wan_*`), against which a test compares them.
"""

import re

LTX_TRANSFORMER_PREFIX = "model.diffusion_model."
LTX_VAE_PREFIX = "vae."
LTX_VAE_STATISTICS = "per_channel_statistics."
# Carried by the official file, used by no one: channel numbers, and two more statistics of the training set.
LTX_VAE_UNUSED = frozenset(
    LTX_VAE_STATISTICS + name for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
)

_LTX_TRANSFORMER = (("proj_in", "patchify_proj"), ("time_embed", "adaln_single"))
_LTX_STATISTICS = {"latents_mean": "mean-of-means", "latents_std": "std-of-means"}
# (diffusers, official, block i of diffusers is block factor * i + offset of the file)
_LTX_VAE_BLOCKS = (
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0", "encoder.down_blocks", 2, 1),
    (r"^encoder\.down_blocks\.(\d+)", "encoder.down_blocks", 2, 0),
    (r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0", "decoder.up_blocks", 2, 1),
    (r"^decoder\.up_blocks\.(\d+)", "decoder.up_blocks", 2, 2),
)
_WAN_TRANSFORMER = (
    (r"^condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"^condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"^condition_embedder\.time_proj", "time_projection.1"),
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
    (r"\.scale_shift_table", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.ffn\.net\.0\.proj", ".ffn.0"),
    (r"\.ffn\.net\.2", ".ffn.2"),
    (r"\.norm2\.", ".norm3."),  # the norm before cross attention, the only one with weights
)
_WAN_RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
_WAN_RESIDUAL |= {"conv_shortcut": "shortcut"}
_WAN_MIDDLE = {"resnets.0": "middle.0", "attentions.0": "middle.1", "resnets.1": "middle.2"}
_WAN_ENDS = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}


def ltx_transformer_key(name: str) -> str:
    """Official name of an `LTXVideoTransformer3DModel` parameter."""
    head, _, rest = name.partition(".")
    name = ".".join(filter(None, (dict(_LTX_TRANSFORMER).get(head, head), rest)))
    return name.replace(".norm_q.", ".q_norm.").replace(".norm_k.", ".k_norm.")


def ltx_vae_key(name: str, encoder_blocks: int) -> str:
    """Official name of an `AutoencoderKLLTXVideo` parameter, 0.9.5 layout with that many encoder down blocks.

    The official lists alternate residual blocks and resamplers: encoder blocks 0, 2, 4 ... (the last is the middle)
    and decoder blocks 0 (the middle), 2, 4 ... are residual, the odd ones between them resample.
    """
    if name in _LTX_STATISTICS:
        return LTX_VAE_STATISTICS + _LTX_STATISTICS[name]
    for pattern, official, factor, offset in _LTX_VAE_BLOCKS:
        found = re.match(pattern, name)
        if found:
            index = factor * int(found.group(1)) + offset
            return f"{official}.{index}" + name[found.end() :].replace(".resnets.", ".res_blocks.")
    name = re.sub(r"^encoder\.mid_block", f"encoder.down_blocks.{2 * encoder_blocks}", name)
    name = re.sub(r"^decoder\.mid_block", "decoder.up_blocks.0", name)
    name = re.sub(r"^decoder\.(time_embedder|scale_shift_table)", r"decoder.last_\1", name)
    return name.replace(".resnets.", ".res_blocks.")


def wan_transformer_key(name: str) -> str:
    """Official name of a `WanTransformer3DModel` (text to video) parameter."""
    for pattern, official in _WAN_TRANSFORMER:
        name = re.sub(pattern, official, name)
    return name


def wan_vae_key(name: str, res_blocks: int) -> str:
    """Official name of an `AutoencoderKLWan` parameter (2.1 layout), `res_blocks` residual blocks a level.

    The file's decoder is one flat list: each level has `res_blocks` + 1 residual blocks and, but for the last, a
    resampler.
    """
    part, _, rest = name.partition(".")
    if part in ("quant_conv", "post_quant_conv"):
        return f"{'conv1' if part == 'quant_conv' else 'conv2'}.{rest}"
    block, _, inside = rest.partition(".")
    if block in _WAN_ENDS:
        return f"{part}.{_WAN_ENDS[block]}.{inside}"
    if block == "mid_block":
        kind, index, inside = inside.split(".", 2)
        return f"{part}.{_WAN_MIDDLE[f'{kind}.{index}']}.{_wan_residual(inside)}"
    index, _, inside = inside.partition(".")
    if block == "down_blocks":
        return f"encoder.downsamples.{index}.{_wan_residual(inside)}"
    kind, number, inside = inside.split(".", 2)
    offset = res_blocks + 1 if kind == "upsamplers" else int(number)
    return f"decoder.upsamples.{int(index) * (res_blocks + 2) + offset}.{_wan_residual(inside)}"


def _wan_residual(inside: str) -> str:
    head, _, rest = inside.partition(".")
    return f"{_WAN_RESIDUAL.get(head, head)}.{rest}"
