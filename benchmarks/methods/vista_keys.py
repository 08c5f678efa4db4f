"""Key names of Vista's published file (and GEM's, of the same layout), derived from those of the classes used here.

Each function takes a parameter name of the diffusers or transformers class and returns the file's, without prefix, so
that a strict load names a missing key as the file would. Source of the names: Vista `vwm/`, and Stability's `sgm/`
from which it stems.
"""

import re

Names = tuple[tuple[str, str], ...]
_RESIDUAL: Names = (
    (r"\.temporal_res_block\.norm1\b", ".time_stack.in_layers.0"),
    (r"\.temporal_res_block\.conv1\b", ".time_stack.in_layers.2"),
    (r"\.temporal_res_block\.time_emb_proj\b", ".time_stack.emb_layers.1"),
    (r"\.temporal_res_block\.norm2\b", ".time_stack.out_layers.0"),
    (r"\.temporal_res_block\.conv2\b", ".time_stack.out_layers.3"),
)
_UNET: Names = (
    *_RESIDUAL,
    (r"\.spatial_res_block\.norm1\b", ".in_layers.0"),
    (r"\.spatial_res_block\.conv1\b", ".in_layers.2"),
    (r"\.spatial_res_block\.time_emb_proj\b", ".emb_layers.1"),
    (r"\.spatial_res_block\.norm2\b", ".out_layers.0"),
    (r"\.spatial_res_block\.conv2\b", ".out_layers.3"),
    (r"\.spatial_res_block\.conv_shortcut\b", ".skip_connection"),
    (r"\.temporal_transformer_blocks\b", ".time_stack"),
    (r"\.to_([kv])\.actions\b", r".\1_adapter_action_control"),
    (r"\btime_pos_embed\.linear_1\b", "time_pos_embed.0"),
    (r"\btime_pos_embed\.linear_2\b", "time_pos_embed.2"),
    (r"^cond_time_embedding\.linear_1\b", "cond_time_stack_embed.0"),
    (r"^cond_time_embedding\.linear_2\b", "cond_time_stack_embed.2"),
    (r"^time_embedding\.linear_1\b", "time_embed.0"),
    (r"^time_embedding\.linear_2\b", "time_embed.2"),
    (r"^add_embedding\.linear_1\b", "label_emb.0.0"),
    (r"^add_embedding\.linear_2\b", "label_emb.0.2"),
    (r"^conv_in\b", "input_blocks.0.0"),
    (r"^conv_norm_out\b", "out.0"),
    (r"^conv_out\b", "out.2"),
    (r"^mid_block\.resnets\.0\b", "middle_block.0"),
    (r"^mid_block\.attentions\.0\b", "middle_block.1"),
    (r"^mid_block\.resnets\.1\b", "middle_block.2"),
)
_VAE: Names = (
    *_RESIDUAL,
    (r"\.spatial_res_block\b", ""),
    (r"\.time_mixer\b", ""),
    (r"\.conv_shortcut\b", ".nin_shortcut"),
    (r"\.mid_block\.resnets\.0\b", ".mid.block_1"),
    (r"\.mid_block\.resnets\.1\b", ".mid.block_2"),
    (r"\.mid_block\.attentions\.0\.group_norm\b", ".mid.attn_1.norm"),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\b", r".mid.attn_1.\1"),
    (r"\.mid_block\.attentions\.0\.to_out\.0\b", ".mid.attn_1.proj_out"),
    (r"\.(down|up)samplers\.0\b", r".\1sample"),
    (r"\.resnets\b", ".block"),
    (r"\.down_blocks\b", ".down"),
    (r"\.conv_norm_out\b", ".norm_out"),
    (r"\.time_conv_out\b", ".conv_out.time_mix_conv"),
)
_CLIP: Names = (
    (r"^vision_model\.embeddings\.class_embedding$", "class_embedding"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\b", "conv1"),
    (r"^vision_model\.pre_layrnorm\b", "ln_pre"),
    (r"^vision_model\.post_layernorm\b", "ln_post"),
    (r"^vision_model\.encoder\.layers\b", "transformer.resblocks"),
    (r"\.layer_norm([12])\b", r".ln_\1"),
    (r"\.self_attn\.([qkv])_proj\.(weight|bias)$", r".attn.in_proj_\2[\1]"),
    (r"\.self_attn\.out_proj\b", ".attn.out_proj"),
    (r"\.mlp\.fc1\b", ".mlp.c_fc"),
    (r"\.mlp\.fc2\b", ".mlp.c_proj"),
    (r"^visual_projection\.weight$", "proj"),
)


def unet_key(name: str, layers: int) -> str:
    """Official name of a `VistaUNet` parameter, `layers` residual blocks a level."""
    for pattern, official in _UNET:
        name = re.sub(pattern, official, name)
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|(?:down|up)samplers)\.(\d+)\.", name)
    if not match:
        return name
    side, block, kind, index = match[1], int(match[2]), match[3], int(match[4])
    rest = name[match.end() :]
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * (block + 1) - 1}.{1 if block == 0 else 2}.{rest}"
    slot = 0 if kind == "resnets" else 1
    if side == "down":
        return f"input_blocks.{(layers + 1) * block + 1 + index}.{slot}.{rest}"
    return f"output_blocks.{(layers + 1) * block + index}.{slot}.{rest}"


def vae_key(name: str, levels: int) -> str:
    """Official name of a parameter of `AutoencoderKLTemporalDecoder` without quant_conv, or of `ReferenceEncoder`."""
    for pattern, official in _VAE:
        name = re.sub(pattern, official, name)
    return re.sub(r"\.up_blocks\.(\d+)\b", lambda found: f".up.{levels - 1 - int(found[1])}", name)


def clip_key(name: str) -> str:
    """open_clip's name of a `CLIPVisionModelWithProjection` parameter, as `VistaWeights` presents it."""
    for pattern, official in _CLIP:
        name = re.sub(pattern, official, name)
    return name
