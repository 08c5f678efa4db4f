"""FlowFrames pipelines around the real LTX and Wan classes at the smallest sizes, with random weights."""

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.models.pipeline import FlowFramesPipeline

torch.set_num_threads(1)

PROMPT_WIDTH = 16


def ltx_backbone(**vae_options) -> Backbone:
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8, **vae_options)
    return tiny_backbone(vae, tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=PROMPT_WIDTH))


def wan_backbone() -> Backbone:
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.1] * 4, latents_std=[1.5] * 4
    )
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=PROMPT_WIDTH,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
    )
    return WanBackbone(vae.eval(), transformer.eval(), text_length=8)


def quiet(pipeline: FlowFramesPipeline) -> FlowFramesPipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def ltx() -> FlowFramesPipeline:
    return quiet(FlowFramesPipeline.from_backbone(ltx_backbone()))


@pytest.fixture(scope="session")
def noisy_ltx() -> FlowFramesPipeline:
    """With a timestep-conditioned decoder, as the real 0.9.5 has."""
    return quiet(FlowFramesPipeline.from_backbone(ltx_backbone(timestep_conditioning=True)))


@pytest.fixture(scope="session")
def wan() -> FlowFramesPipeline:
    return quiet(FlowFramesPipeline.from_backbone(wan_backbone()))


@pytest.fixture(params=["ltx", "noisy_ltx", "wan"])
def pipeline(request) -> FlowFramesPipeline:
    return request.getfixturevalue(request.param)


@pytest.fixture
def video() -> torch.Tensor:
    """Two cameras, 9 frames of 32x48: fits 8k+1 and 4k+1, 16 and 32 pixels... and is no square."""
    return torch.rand(2, 9, 3, 32, 48, generator=torch.Generator().manual_seed(1))
