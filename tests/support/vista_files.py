"""Vista's and GEM's published layout at tiny sizes: golden networks, and an image encoder named as open_clip does."""

import json
from pathlib import Path

import torch
from golden_numbers import Golden
from safetensors.torch import save_file
from torch import Tensor, nn

CLIP = "conditioner.embedders.0.open_clip.model."
REFERENCE = "conditioner.embedders.3.encoder."
CLIP_SIZES = {"image_size": 224, "layers": 2, "width": 32, "head_width": 16, "patch_size": 56}


class OpenClipBlock(nn.Module):
    """One residual attention block with open_clip's names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp["c_proj"](nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class OpenClipVisual(nn.Module):
    """open_clip's vision tower, written from its description: an independent judge of the converted one."""

    def __init__(self, embed_dim: int, width: int, layers: int, head_width: int, image_size: int, patch_size: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((image_size // patch_size) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = nn.ModuleList(OpenClipBlock(width, width // head_width) for _ in range(layers))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.proj = nn.Parameter(torch.randn(width, embed_dim) / width**0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


def open_clip_visual(embed_dim: int) -> OpenClipVisual:
    """A vision tower with random weights, no norm or bias at its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        visual = OpenClipVisual(embed_dim, **CLIP_SIZES).requires_grad_(False).eval()
        for parameter in visual.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return visual


def reference_weights(vae: Golden) -> dict[str, Tensor]:
    """The second encoder with the VAE's weights, its quant_conv doubling, and the decoder that no one uses."""
    weights = {name.removeprefix("first_stage_model."): value for name, value in vae.weights().items()}
    channels = 2 * vae.config["z_channels"]
    weights |= {"quant_conv.weight": 2 * torch.eye(channels)[:, :, None, None], "quant_conv.bias": torch.ones(channels)}
    weights |= {"post_quant_conv.weight": torch.zeros(4, 4, 1, 1), "post_quant_conv.bias": torch.zeros(4)}
    return {REFERENCE + name: value for name, value in weights.items()}


def clip_weights(embed_dim: int) -> dict[str, Tensor]:
    """The vision tower under its published names, and the text side's parts that lie beside it."""
    visual = {f"{CLIP}visual.{name}": value for name, value in open_clip_visual(embed_dim).state_dict().items()}
    text = ("positional_embedding", "text_projection", "logit_scale", "token_embedding.weight", "ln_final.weight")
    return visual | {CLIP + name: torch.zeros(1) for name in (*text, "ln_final.bias")}


def write_config(unet: Golden, vae: Golden, folder: Path) -> Path:
    """The sizes of these networks in the official words."""
    clip = CLIP_SIZES | {"embed_dim": unet.config["context_dim"]}
    path = folder / "sizes.json"
    path.write_text(json.dumps({"unet": unet.config, "vae": vae.config, "clip": clip}))
    return path


def write_vista(unet: Golden, vae: Golden, folder: Path) -> Path:
    """A whole file as Vista publishes it."""
    weights = unet.weights() | vae.weights() | reference_weights(vae) | clip_weights(unet.config["context_dim"])
    path = folder / "vista.safetensors"
    save_file(weights, path)
    return path
