"""Any scheduler of the toolkit as a linear recurrence, so that a vehicle needs its numbers and not its code.

Euler and UniPC are linear in the source and in the velocities: after step i of N

    x_{i+1} = source[i] * x_source + sum over j <= i of velocity[i][j] * v_j,        v_j = velocity(x_j, sigmas[j]).

The coefficients are read off by running diffusers' own scheduler on unit vectors.
Shape legend: N steps, K = N + 1 unit vectors: the source and the N velocities.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.export.runtime.manifest_fields import Schedule
from worldmodel.flow.solvers import Velocity, set_sigmas


def linear_schedule(scheduler: Any, steps: int, first_sigma: float | None = None) -> Schedule:
    """The recurrence that `worldmodel.flow.solvers.integrate` follows with this scheduler in `steps` evaluations.

    `scheduler` itself stays as it is; `first_sigma` as there. Coefficients are as exact as its own float32 sigmas.

    Raises:
        InputError: fewer than 1 step, a scheduler that `integrate` refuses, or one that clips predictions
            (`thresholding`), which is not linear.
    """
    if scheduler.config.get("thresholding"):
        raise InputError(f"scheduler {type(scheduler).__name__}: set thresholding=false; a clipped step is not linear")
    own = type(scheduler).from_config(scheduler.config)
    sigmas = set_sigmas(own, steps, first_sigma=first_sigma)
    reached_NK = _reached(own, steps)
    return Schedule(
        sigmas=tuple(sigmas[:-1]),
        source=tuple(reached_NK[:, 0].tolist()),
        velocity=tuple(tuple(row_K[1 : step + 2].tolist()) for step, row_K in enumerate(reached_NK)),
    )


def linear_schedules(scheduler: Any, steps: Sequence[int], first_sigma: float | None = None) -> dict[str, Schedule]:
    """`linear_schedule` for each number of steps, under that number as text; `InputError` for none."""
    if not steps:
        raise InputError("steps=[]: give at least one number of steps, for example steps=[5,10]")
    return {str(count): linear_schedule(scheduler, count, first_sigma) for count in sorted(set(steps))}


def follow(velocity: Velocity, x_source: Float[Tensor, "B ..."], schedule: Schedule) -> list[Float[Tensor, "B ..."]]:
    """The states x_1 to x_N that the recurrence reaches; `velocity` is called with sigma as a tensor [1]."""
    reached: list[Tensor] = []
    velocities: list[Tensor] = []
    for sigma, weight, row in zip(schedule.sigmas, schedule.source, schedule.velocity, strict=True):
        x = reached[-1] if reached else x_source
        velocities.append(velocity(x, torch.tensor([sigma])))
        moved = sum(coefficient * v for coefficient, v in zip(row, velocities, strict=True))
        reached.append(weight * x_source + moved)
    return reached


def _reached(scheduler: Any, steps: int) -> Float64[Tensor, "N K"]:
    """Where each step arrives, in terms of the source and the velocities."""
    units_KK = torch.eye(steps + 1, dtype=torch.float64)
    x_1K, rows = units_KK[:1], []
    for step in range(steps):
        velocity_1K = units_KK[step + 1 : step + 2]
        x_1K = scheduler.step(velocity_1K, scheduler.timesteps[step], x_1K, return_dict=False)[0]
        rows.append(x_1K[0])
    return torch.stack(rows)
