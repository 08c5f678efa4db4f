"""Closed-form flows through diffusers' schedulers, and what they cost."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from worldmodel.errors import InputError
from worldmodel.flow.solvers import integrate, set_sigmas


def euler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def unipc(flow_shift: float = 3.0) -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=flow_shift)


SCHEDULERS = {"euler": euler, "unipc": unipc, "unipc shift 8": lambda: unipc(8.0)}


@pytest.fixture
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4, 3, 2, 2, generator=generator) for _ in range(2))


@pytest.mark.parametrize("steps", [1, 5, 10])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_constant_velocity_is_integrated_exactly(scheduler, steps, ends):
    source, target = ends
    reached = integrate(lambda x, sigma_B: source - target, source, SCHEDULERS[scheduler](), steps)
    # UniPC starts at 1 - 1e-6, which costs up to 1e-6 of the way and a little rounding in its logarithms.
    torch.testing.assert_close(reached.x, target, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 40])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_evaluations_are_the_steps_asked_for(scheduler, steps, ends):
    seen = []

    def velocity(x, sigma_B):
        seen.append(sigma_B.clone())
        return torch.zeros_like(x)

    evaluations = integrate(velocity, ends[0], SCHEDULERS[scheduler](), steps).evaluations
    assert len(seen) == evaluations.guided_evals == evaluations.forward_calls == steps
    assert evaluations.forward_batch == 2


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_network_sees_the_schedulers_own_sigmas(scheduler, ends):
    """Continuous ones, from 1 down, one per row; UniPC's truncated timesteps differ by up to 1 of 1000."""
    seen = []
    sched = SCHEDULERS[scheduler]()
    integrate(lambda x, sigma_B: seen.append(sigma_B) or torch.zeros_like(x), ends[0], sched, 5)
    sigmas = torch.stack(seen)
    assert torch.equal(sigmas[:, 0], sigmas[:, 1])
    assert torch.equal(sigmas[:, 0], sched.sigmas[:5])
    assert sigmas[0, 0].item() == pytest.approx(1, abs=2e-6)
    if scheduler == "unipc":
        assert (1000 * sigmas[:, 0] - sched.timesteps).abs().max() > 0.1


def test_euler_takes_equal_steps_down_to_zero():
    """Its own default ends 0.25, 0.001, 0: the last evaluation would move nothing."""
    assert set_sigmas(euler(), 5) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])
    assert set_sigmas(euler(), 1) == [1, 0]


def test_the_source_is_the_first_point_and_no_noise_is_drawn(ends):
    seen = []
    state = torch.get_rng_state()
    reached = [integrate(lambda x, s: seen.append(x.clone()) or torch.sin(x), ends[0], euler(), 3).x for _ in range(2)]
    assert torch.equal(seen[0], ends[0]) and torch.equal(reached[0], reached[1])
    assert torch.equal(state, torch.get_rng_state())


def errors_on_decay(scheduler, counts: list[int]) -> list[float]:
    """dx/dsigma = x from sigma 1 to 0 ends at x / e."""
    source = torch.ones(1, 1, 1, 1, 1)
    return [abs(integrate(lambda x, s: x, source, scheduler(), n).x.item() - math.exp(-1)) for n in counts]


def test_euler_converges_at_order_one():
    errors = errors_on_decay(euler, [8, 16, 32, 64])
    orders = [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[1:], strict=False)]
    assert all(0.9 < order < 1.1 for order in orders), orders


def test_unipc_converges_and_beats_euler():
    """At shift 1, where both take almost the same sigmas."""
    errors = errors_on_decay(lambda: unipc(1.0), [8, 16, 32])
    assert errors[0] > errors[1] > errors[2]
    assert all(fine < coarse / 2 for fine, coarse in zip(errors, errors_on_decay(euler, [8, 16, 32]), strict=True))


def test_the_state_keeps_its_precision_under_a_half_precision_network(ends):
    source, target = ends
    velocity = (source - target).bfloat16()
    reached = integrate(lambda x, s: velocity, source, euler(), 10).x
    assert reached.dtype == torch.float32
    torch.testing.assert_close(reached, source - velocity.float(), rtol=0, atol=1e-5)


def test_callback_sees_every_step_and_may_replace_the_point(ends):
    steps = []

    def callback(step, sigma, x):
        steps.append((step, round(sigma, 4)))
        return torch.zeros_like(x) if step == 2 else None

    reached = integrate(lambda x, s: x, ends[0], euler(), 4, callback)
    assert steps == [(0, 0.75), (1, 0.5), (2, 0.25), (3, 0.0)]
    assert torch.equal(reached.x, torch.zeros_like(ends[0]))


def test_no_gradient_is_kept(ends):
    weight = torch.ones((), requires_grad=True)
    assert not integrate(lambda x, s: x * weight, ends[0], euler(), 2).x.requires_grad


@pytest.mark.parametrize(
    ("scheduler", "remedy"),
    [
        (lambda: FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "use_dynamic_shifting=false"),
        (lambda: FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), "stochastic_sampling=false"),
        (lambda: FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "invert_sigmas=false"),
        (lambda: UniPCMultistepScheduler(), "use_flow_sigmas=true"),
        (lambda: UniPCMultistepScheduler(use_flow_sigmas=True), "prediction_type=flow_prediction"),
        (lambda: DDIMScheduler(), "use FlowMatchEulerDiscreteScheduler or"),
    ],
)
def test_schedulers_that_do_not_follow_the_flow_are_refused(scheduler, remedy, ends):
    with pytest.raises(InputError, match=remedy):
        integrate(lambda x, s: x, ends[0], scheduler(), 2)


def test_at_least_one_step(ends):
    with pytest.raises(InputError, match="num_inference_steps=0"):
        integrate(lambda x, s: x, ends[0], euler(), 0)
