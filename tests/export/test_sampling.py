"""The linear recurrence against the toolkit's own integration."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.export.sampling import follow, linear_schedule, linear_schedules
from worldmodel.flow.solvers import integrate

SCHEDULERS: dict[str, Callable[..., Any]] = {
    "euler": FlowMatchEulerDiscreteScheduler,
    "euler shifted": lambda: FlowMatchEulerDiscreteScheduler(shift=0.25),
    "unipc": lambda **more: UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **more
    ),
    "unipc order 3": lambda: SCHEDULERS["unipc"](solver_order=3),
}


def velocity(x: Tensor, sigma: Tensor) -> Tensor:
    """A field that is linear in nothing."""
    return torch.sin(3 * x) * (0.3 + sigma.to(x).view(-1, 1, 1)) + x * x.mean(dim=-1, keepdim=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_state_is_that_of_integrate(name: str, steps: int, dtype: torch.dtype) -> None:
    x_source = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    states: list[Tensor] = []
    integrate(velocity, x_source, SCHEDULERS[name](), steps, lambda step, sigma, x: states.append(x))
    reached = follow(velocity, x_source, linear_schedule(SCHEDULERS[name](), steps))
    assert len(reached) == len(states) == steps
    # diffusers' Euler rounds its state to float32 whatever it is given, and UniPC its coefficients.
    for ours, own in zip(reached, states, strict=True):
        torch.testing.assert_close(ours, own, rtol=3e-6, atol=3e-6)


def test_the_given_scheduler_stays_as_it_is() -> None:
    scheduler = SCHEDULERS["unipc"]()
    scheduler.set_timesteps(7)
    before = scheduler.sigmas.clone()
    linear_schedule(scheduler, 3)
    assert torch.equal(scheduler.sigmas, before) and scheduler.step_index is None


def test_schedules_by_number_of_steps() -> None:
    found = linear_schedules(FlowMatchEulerDiscreteScheduler(), (10, 5, 5))
    assert list(found) == ["5", "10"] and len(found["10"].sigmas) == 10
    assert found["5"].source == (1.0,) * 5
    assert found["5"].velocity[-1] == pytest.approx((-0.2,) * 5)
    with pytest.raises(InputError, match="at least one"):
        linear_schedules(FlowMatchEulerDiscreteScheduler(), ())


def test_a_clipping_scheduler_is_refused() -> None:
    with pytest.raises(InputError, match="thresholding=false"):
        linear_schedule(SCHEDULERS["unipc"](thresholding=True), 5)
    with pytest.raises(InputError, match="at least 1"):
        linear_schedule(FlowMatchEulerDiscreteScheduler(), 0)
