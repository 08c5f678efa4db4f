"""Follow a velocity field from the source (sigma 1) to the target (sigma 0) with diffusers' schedulers, and count.

Time, source and sign as in `path`. No noise is drawn: the answer follows from the source alone.

Shape legend: B batch; a trailing ... is whatever the latents are, usually C f h w.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor

from worldmodel.errors import InputError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""velocity(x [B, ...], sigma [B]) -> [B, ...]"""

StepCallback = Callable[[int, float, Tensor], Tensor | None]
"""callback(step from 0, sigma reached, x there) -> x to go on with, or None to leave it"""


@dataclass
class Evaluations:
    """What a prediction cost.

    Attributes:
        guided_evals: evaluations of the guided velocity: the NFE of the paper, which counts CFG once.
        forward_calls: calls of the network's forward.
        forward_batch: the largest batch of one such call.
        guidance_skipped: why no unconditional branch was computed, or None where it was.
    """

    guided_evals: int = 0
    forward_calls: int = 0
    forward_batch: int = 0
    guidance_skipped: str | None = None

    def count_forward(self, batch: int) -> None:
        """Note one call of the network's forward on `batch` rows."""
        self.forward_calls += 1
        self.forward_batch = max(self.forward_batch, batch)

    def __add__(self, other: "Evaluations") -> "Evaluations":
        return Evaluations(
            self.guided_evals + other.guided_evals,
            self.forward_calls + other.forward_calls,
            max(self.forward_batch, other.forward_batch),
            self.guidance_skipped or other.guidance_skipped,
        )


class CountedVelocity:
    """A velocity field that counts what it costs; a plain function becomes one in `integrate`."""

    guidance_skipped: str | None = None

    def __init__(self, velocity: Velocity) -> None:
        self._velocity = velocity
        self.restart()

    def restart(self) -> None:
        """Count from zero."""
        self.evaluations = Evaluations(guidance_skipped=self.guidance_skipped)

    def __call__(self, x: Float[Tensor, "B ..."], sigma_B: Float[Tensor, " B"]) -> Float[Tensor, "B ..."]:
        self.evaluations.guided_evals += 1
        self.evaluations.count_forward(len(x))
        return self._velocity(x, sigma_B)


@dataclass(frozen=True)
class Integration:
    """The point reached at sigma 0 and what it cost."""

    x: Float[Tensor, "B ..."]
    evaluations: Evaluations


@torch.no_grad()
def integrate(
    velocity: Velocity,
    x_source: Float[Tensor, "B ..."],
    scheduler: Any,
    num_inference_steps: int,
    callback: StepCallback | None = None,
    first_sigma: float | None = None,
) -> Integration:
    """Carry `x_source` from sigma 1 to sigma 0 in `num_inference_steps` evaluations.

    `scheduler` is a `FlowMatchEulerDiscreteScheduler` or a `UniPCMultistepScheduler` with flow sigmas.
    The velocity sees the scheduler's own sigmas, not its `timesteps`: UniPC truncates those to integers, while the
    network is trained on continuous 1000 * sigma. UniPC starts at 1 - 1e-6, where its logarithms are finite.
    The state keeps the dtype of `x_source`; give float32 where the network runs in bfloat16. No gradients.
    `first_sigma`: see `set_sigmas`.

    Raises:
        InputError: fewer than 1 step, or a scheduler that does not run deterministically from sigma 1 to 0.
    """
    counted = velocity if isinstance(velocity, CountedVelocity) else CountedVelocity(velocity)
    counted.restart()
    x = x_source
    sigmas = set_sigmas(scheduler, num_inference_steps, x.device, first_sigma)
    for step, (sigma, sigma_next) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        # The schedule's own sigma, not timesteps[step] / 1000: the network is trained on numbers that are not whole.
        sigma_B = torch.full((len(x),), sigma, dtype=torch.float32, device=x.device)
        predicted = counted(x, sigma_B).to(x.dtype)
        x = scheduler.step(predicted, scheduler.timesteps[step], x, return_dict=False)[0]
        replaced = None if callback is None else callback(step, sigma_next, x)
        x = x if replaced is None else replaced
    return Integration(x, counted.evaluations)


def set_sigmas(
    scheduler: Any,
    num_inference_steps: int,
    device: torch.device | str = "cpu",
    first_sigma: float | None = None,
) -> list[float]:
    """Prepare `scheduler` and give its num_inference_steps + 1 sigmas, from 1 (UniPC: 1 - 1e-6) down to 0.

    Euler gets equal steps 1, 1 - 1/n, ..., 1/n: its own default would spend the last evaluation on 0.001 to 0.
    UniPC keeps its own flow sigmas, or, given `first_sigma`, takes equal steps from there: first_sigma * k / n for
    k = n ... 1, as diffusers 0.33 had it with 0.999. Either applies its configured shift.
    """
    if num_inference_steps < 1:
        raise InputError(f"num_inference_steps={num_inference_steps}: use at least 1")
    check_scheduler(scheduler)
    first = 1.0 if isinstance(scheduler, FlowMatchEulerDiscreteScheduler) else first_sigma
    if first is None:  # UniPC's own, from 1 - 1e-6, where its logarithms are finite
        scheduler.set_timesteps(num_inference_steps, device=device)
    else:
        equal = np.linspace(first, first / num_inference_steps, num_inference_steps)
        scheduler.set_timesteps(num_inference_steps, device=device, sigmas=equal)
    scheduler.set_begin_index(0)  # truncated timesteps may repeat, so a step is never looked up by its timestep
    sigmas: list[float] = scheduler.sigmas.tolist()
    return sigmas


def check_scheduler(scheduler: Any) -> None:
    """Raise `InputError` unless `scheduler` follows dx/dsigma = velocity from sigma 1 to 0 without noise."""
    config, name = scheduler.config, type(scheduler).__name__
    if not isinstance(scheduler, (FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler)):
        raise InputError(f"scheduler {name}: use FlowMatchEulerDiscreteScheduler or UniPCMultistepScheduler")
    is_unipc = isinstance(scheduler, UniPCMultistepScheduler)
    if is_unipc and not (config.use_flow_sigmas and config.prediction_type == "flow_prediction"):
        raise InputError(f"scheduler {name}: set use_flow_sigmas=true and prediction_type=flow_prediction")
    for key in ("use_dynamic_shifting", "stochastic_sampling", "invert_sigmas"):
        if config.get(key):
            raise InputError(f"scheduler {name}: set {key}=false; prediction follows fixed sigmas from 1 to 0")
