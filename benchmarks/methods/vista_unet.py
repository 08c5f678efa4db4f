"""Vista's UNet: that of Stable Video Diffusion, told per frame what is given, and by adapters what the car does.

Source: Vista `vwm/modules/diffusionmodules/video_model.py` and `attention.py`. Three differences to diffusers' class:
a second time embedding for given frames, adapters beside the keys and values of cross attention, and one epsilon.
Shape legend: B clips, F frames, C channels, h w latent height and width, E embedding, T context tokens (1), N = B * F.
"""

from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from jaxtyping import Float
from torch import Tensor, nn

ACTION_WIDTH = 2432  # 19 scalars of 128 Fourier features: trajectory 8, speed 4, angle 4, goal 2, command 1
RESIDUAL_EPSILON = 1e-5  # diffusers has 1e-6 in some of the blocks


class ActionLinear(nn.Linear):
    """Keys or values from the image token, plus those from the actions behind it in the same vector, if there are any.

    A context without actions is exactly one whose actions are zero: neither layer has a bias.
    """

    def __init__(self, context_width: int, action_width: int, inner: int) -> None:
        super().__init__(context_width, inner, bias=False)
        self.actions = nn.Linear(action_width, inner, bias=False)

    def forward(self, context_NTD: Float[Tensor, "N T D"]) -> Float[Tensor, "N T I"]:
        image, actions = context_NTD[..., : self.in_features], context_NTD[..., self.in_features :]
        out = super().forward(image)
        return out + self.actions(actions) if actions.shape[-1] else out


class VistaUNet(UNetSpatioTemporalConditionModel):  # type: ignore[misc]
    """The network of Vista and, on its RGB path, of GEM; sizes by default those of the published file."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 8,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        num_attention_heads: tuple[int, ...] = (5, 10, 20, 20),
        action_width: int = ACTION_WIDTH,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            block_out_channels=block_out_channels,
            addition_time_embed_dim=addition_time_embed_dim,
            projection_class_embeddings_input_dim=projection_class_embeddings_input_dim,
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            num_attention_heads=num_attention_heads,
        )
        self.cond_time_embedding = TimestepEmbedding(block_out_channels[0], 4 * block_out_channels[0])
        for module in list(self.modules()):
            if isinstance(module, (ResnetBlock2D, TemporalResnetBlock)):
                module.norm1.eps = module.norm2.eps = RESIDUAL_EPSILON
            elif isinstance(module, Attention) and module.is_cross_attention:
                sizes = (cross_attention_dim, action_width, module.inner_dim)
                module.to_k, module.to_v = ActionLinear(*sizes), ActionLinear(*sizes)

    def forward(
        self,
        sample_BFChw: Float[Tensor, "B F C h w"],
        noise_level_BF: Float[Tensor, "B F"],
        context_BFTD: Float[Tensor, "B F T D"],
        numbers_B3: Float[Tensor, "B 3"],
        given_BF: Float[Tensor, "B F"],
        residuals: dict[int, Float[Tensor, "N R y x"]] | None = None,
    ) -> Float[Tensor, "B F c h w"]:
        """The network's output for every frame.

        Args:
            sample_BFChw: scaled latents, and behind them in the channels those of the reference frame.
            noise_level_BF: 0.25 log sigma of each frame.
            context_BFTD: image embedding, and behind it, if wanted, the embedded actions (D + action_width); attention
                over time takes the first frame's.
            numbers_B3: frame rate - 1, motion bucket, augmentation.
            given_BF: 1 where a frame is given, 0 where it is to be predicted.
            residuals: what is added behind the downsampler of block 0, 1, ... (GEM's DINO branch).
        """
        batch, frames = sample_BFChw.shape[:2]
        # The blocks read the number of frames from this, and from its zeros that every frame is part of a video.
        video_BF = sample_BFChw.new_zeros(batch, frames)
        shared: dict[str, Any] = {"temb": self._embedding(noise_level_BF, numbers_B3, given_BF, sample_BFChw.dtype)}
        shared["image_only_indicator"] = video_BF
        context = {"encoder_hidden_states": context_BFTD.flatten(0, 1)}

        x = self.conv_in(sample_BFChw.flatten(0, 1))
        skips = [x]
        for index, block in enumerate(self.down_blocks):
            x, new = block(x, **shared, **(context if hasattr(block, "attentions") else {}))
            if residuals and index in residuals:
                x = x + residuals[index].to(x.dtype)
                new = (*new[:-1], x)
            skips += new
        x = self.mid_block(x, **shared, **context)
        for block in self.up_blocks:
            skips, last = skips[: -len(block.resnets)], tuple(skips[-len(block.resnets) :])
            with_context = context if hasattr(block, "attentions") else {}
            x = block(x, res_hidden_states_tuple=last, **shared, **with_context)
        return self.conv_out(self.conv_act(self.conv_norm_out(x))).unflatten(0, (batch, frames))

    def _embedding(
        self, noise_level_BF: Tensor, numbers_B3: Tensor, given_BF: Tensor, dtype: torch.dtype
    ) -> Float[Tensor, "N E"]:
        frames = noise_level_BF.shape[1]
        waves_NE = self.time_proj(noise_level_BF.flatten()).to(dtype)
        given_N1 = given_BF.flatten()[:, None].to(dtype)
        time_NE = self.cond_time_embedding(waves_NE) * given_N1 + self.time_embedding(waves_NE) * (1 - given_N1)
        numbers_BE = self.add_embedding(self.add_time_proj(numbers_B3.flatten()).view(len(numbers_B3), -1).to(dtype))
        return time_NE + numbers_BE.repeat_interleave(frames, dim=0)
