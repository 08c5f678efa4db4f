"""What is timed: a training step of FlowFrames, and beside it diffusers' transformer alone."""

from collections.abc import Callable
from typing import Any

import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.datasets.pairs import Batch, LatentPair
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.objectives import objective_of
from worldmodel.training.optimizer import adamw

Step = Callable[[], None]


class TrainingSteps:
    """The FlowFrames objective with AdamW, its step given a batch size."""

    def __init__(self, backbone: Backbone, latents: tuple[int, ...], device: torch.device) -> None:
        self.config = TrainConfig(DataConfig("latents"))
        self.latents, self.device = latents, device
        self.objective = objective_of(self.config, backbone)
        self.trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.optimizer = adamw(self.config.settled.optimizer, self.trained)

    def step(self, batch: int) -> Step:
        """A step on latents that lie on the host."""
        gradients = self.gradients(batch)

        def step() -> None:
            gradients()
            float(torch.nn.utils.clip_grad_norm_(self.trained, self.config.optimizer.clip))
            self.optimizer.step()
            self.optimizer.zero_grad()

        return step

    def gradients(self, batch: int) -> Step:
        """The step up to its gradients."""
        held = self._host_batch(batch)

        def gradients() -> None:
            moved = held.each(lambda tensor: tensor.to(self.device, non_blocking=True))
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = self.objective(moved)["loss"]
            loss.backward()

        return gradients

    def _host_batch(self, batch: int) -> Batch:
        latents = LatentPair(
            mean=torch.randn(batch, 2, *self.latents).half(),
            std=torch.rand(batch, *self.latents).half(),
            noise=torch.randn(batch, *self.latents).half(),
        )
        held = Batch(latents=latents, frame_rates=(NOMINAL_RATE,) * batch, seeds=tuple(range(batch)))
        return held.pin_memory() if self.device.type == "cuda" else held


def plain_step(backbone: Backbone, latents: tuple[int, ...], batch: int) -> Step:
    """Forward and backward of diffusers' transformer, called as its own pipeline calls it."""
    network: Any = backbone.transformer
    prompt, mask = backbone.empty_prompt()
    device = prompt.device
    f, h, w = latents[1:]
    timestep, x = torch.full((batch,), 500.0, device=device), torch.randn(batch, *latents, device=device)
    given: dict[str, Any] = {"timestep": timestep, "return_dict": False}
    if isinstance(backbone, WanBackbone):
        given["encoder_hidden_states"] = prompt.new_zeros(batch, backbone.text_length, prompt.shape[2])
    else:
        x = x.flatten(2).transpose(1, 2)
        given |= {"encoder_hidden_states": prompt.expand(batch, -1, -1), "num_frames": f, "height": h, "width": w}
        given["encoder_attention_mask"] = None if mask is None else mask.expand(batch, -1)
        given["rope_interpolation_scale"] = (backbone.geometry.temporal / 12, *2 * (backbone.geometry.spatial,))
    target = torch.randn_like(x)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            predicted = network(hidden_states=x, **given)[0]
        (predicted.float() - target).square().mean().backward()
        network.zero_grad(set_to_none=True)

    return step
