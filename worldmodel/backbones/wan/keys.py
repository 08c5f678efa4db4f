"""Wan 2.1's official key names, derived from the diffusers parameter names.

Each function takes a parameter name of the diffusers module and returns the name in the official file, without the
file's prefix. This direction lets a strict load name a missing key as the file would. The pairs of names are those of
diffusers' `loaders/single_file_utils.py` (`convert_wan_*`), against which a test compares them.
"""

import re

_TRANSFORMER = (
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
_RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
_RESIDUAL |= {"conv_shortcut": "shortcut"}
_MIDDLE = {"resnets.0": "middle.0", "attentions.0": "middle.1", "resnets.1": "middle.2"}
_ENDS = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}


def transformer_key(name: str) -> str:
    """Official name of a `WanTransformer3DModel` (text to video) parameter."""
    for pattern, official in _TRANSFORMER:
        name = re.sub(pattern, official, name)
    return name


def vae_key(name: str, res_blocks: int) -> str:
    """Official name of an `AutoencoderKLWan` parameter (2.1 layout), `res_blocks` residual blocks a level.

    The file's decoder is one flat list: each level has `res_blocks` + 1 residual blocks and, but for the last, a
    resampler.
    """
    part, _, rest = name.partition(".")
    if part in ("quant_conv", "post_quant_conv"):
        return f"{'conv1' if part == 'quant_conv' else 'conv2'}.{rest}"
    block, _, inside = rest.partition(".")
    if block in _ENDS:
        return f"{part}.{_ENDS[block]}.{inside}"
    if block == "mid_block":
        kind, index, inside = inside.split(".", 2)
        return f"{part}.{_MIDDLE[f'{kind}.{index}']}.{_residual(inside)}"
    index, _, inside = inside.partition(".")
    if block == "down_blocks":
        return f"encoder.downsamples.{index}.{_residual(inside)}"
    kind, number, inside = inside.split(".", 2)
    offset = res_blocks + 1 if kind == "upsamplers" else int(number)
    return f"decoder.upsamples.{int(index) * (res_blocks + 2) + offset}.{_residual(inside)}"


def _residual(inside: str) -> str:
    head, _, rest = inside.partition(".")
    return f"{_RESIDUAL.get(head, head)}.{rest}"
