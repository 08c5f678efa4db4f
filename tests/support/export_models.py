"""Very small pipelines of every family with random weights, and what an export of them is given.

Shape legend: as in `worldmodel.export.graphs.parts`.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.random import drawn
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.flow.guidance import Prompt
from worldmodel.models.pipeline import FlowFramesPipeline

FAMILIES = ("tiny", "ltx", "wan")
CHUNK = Chunk(frames=9, height=32, width=48, cameras=2)
GUIDANCE = {"tiny": 1.0, "ltx": 3.5, "wan": 5.0}
TOKENS = 5


def small_backbone(family: str) -> Backbone:
    """`tiny`: LTX's classes; `ltx`: with the decoder of 0.9.5, conditioned on a timestep; `wan`."""
    with drawn(torch.float32, seed=3):
        backbone = {"tiny": _tiny, "ltx": _ltx, "wan": _wan}[family]()
        for buffer in ("latents_mean", "latents_std"):
            if family != "wan":
                getattr(backbone.vae, buffer).uniform_(0.5, 2.0)
    for module in (backbone.vae, backbone.transformer):
        module.requires_grad_(False).eval()
    return backbone


def _tiny() -> Backbone:
    vae = tiny_vae(base_channels=8, latent_channels=8, temporal=4)
    return tiny_backbone(vae, tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8))


def _ltx() -> Backbone:
    vae = tiny_vae(base_channels=8, latent_channels=8, temporal=4, timestep_conditioning=True)
    return LTXBackbone(vae, tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8))


def _wan() -> Backbone:
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, ffn_dim=64, num_layers=2, freq_dim=32, text_dim=8
    )
    return WanBackbone(AutoencoderKLWan(base_dim=4, num_res_blocks=1), transformer)


def some_prompt(backbone: Backbone, tokens: int = TOKENS, masked: int = 1, seed: int = 0) -> Prompt:
    """Random embeddings, the last `masked` of which the mask leaves out."""
    width = backbone.empty_prompt()[0].shape[-1]
    embeds = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(seed))
    return Prompt(embeds, (torch.arange(tokens) < tokens - masked)[None].float())


def baked(backbone: Backbone, family: str) -> BakedPrompts:
    """The prompts of `saved_pipeline`'s export: guided for ltx and wan, the empty one for tiny."""
    empty = Prompt(*backbone.empty_prompt())
    prompt = None if family == "tiny" else some_prompt(backbone)
    return BakedPrompts.of(empty, prompt, None, GUIDANCE[family])


def some_video(chunk: Chunk = CHUNK, seed: int = 0) -> Tensor:
    """uint8 [B, F, H, W, 3]."""
    shape = (chunk.cameras, chunk.frames, chunk.height, chunk.width, 3)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def some_latents(backbone: Backbone, chunk: Chunk = CHUNK, seed: int = 0) -> Tensor:
    """float32 [B, C, f, h, w]."""
    shape = (chunk.cameras, *backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save_pipeline(family: str, folder: Path) -> Path:
    """A pipeline folder with `prompt.safetensors` beside its parts."""
    backbone = small_backbone(family)
    FlowFramesPipeline.from_backbone(backbone).save_pretrained(folder)
    prompt = some_prompt(backbone)
    assert prompt.mask_BL is not None
    save_file({"embeds": prompt.embeds_BLD, "mask": prompt.mask_BL}, folder / "prompt.safetensors")
    return folder


def relative(found: Tensor, expected: Tensor) -> float:
    """Relative L2 difference."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm())
