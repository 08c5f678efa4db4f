"""Classifier-free guidance: its value, its cost, and when it is left out."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from worldmodel.flow.guidance import GuidedVelocity, Prompt
from worldmodel.flow.solvers import Evaluations, integrate

BATCH = 3


def network(x: torch.Tensor, sigma_B: torch.Tensor, prompt: Prompt) -> torch.Tensor:
    """A velocity that depends on the prompt of each row."""
    return prompt.embeds_BLD.mean((1, 2)).reshape(-1, 1, 1, 1, 1).expand_as(x)


def prompt(value: float, tokens: int = 4, masked: bool = False) -> Prompt:
    return Prompt(torch.full((BATCH, tokens, 8), value), torch.ones(BATCH, tokens) if masked else None)


def run(velocity, steps: int = 5):
    source = torch.zeros(BATCH, 2, 3, 2, 2)
    return integrate(velocity, source, FlowMatchEulerDiscreteScheduler(), steps)


def test_guided_velocity_goes_past_the_prompt():
    reached = run(GuidedVelocity(network, prompt(2.0), prompt(1.0), 3.5))
    torch.testing.assert_close(reached.x, torch.full_like(reached.x, -(1.0 + 3.5 * (2.0 - 1.0))))


@pytest.mark.parametrize("steps", [1, 5, 10])
def test_both_branches_are_one_call_on_twice_the_rows(steps):
    assert run(GuidedVelocity(network, prompt(2.0), prompt(1.0), 3.5), steps).evaluations == Evaluations(
        guided_evals=steps, forward_calls=steps, forward_batch=2 * BATCH, guidance_skipped=None
    )


def test_prompts_of_different_length_take_two_calls_and_give_the_same():
    reached = run(GuidedVelocity(network, prompt(2.0, tokens=7), prompt(1.0), 3.5))
    torch.testing.assert_close(reached.x, torch.full_like(reached.x, -4.5))
    assert (reached.evaluations.forward_calls, reached.evaluations.forward_batch) == (10, BATCH)


def test_masks_travel_with_their_branch():
    masks = []

    def masked_network(x, sigma_B, text):
        masks.append(text.mask_BL)
        return torch.zeros_like(x)

    negative = Prompt(prompt(1.0).embeds_BLD, torch.zeros(BATCH, 4))
    run(GuidedVelocity(masked_network, prompt(2.0, masked=True), negative, 2.0), 1)
    assert torch.equal(masks[0], torch.cat([torch.zeros(BATCH, 4), torch.ones(BATCH, 4)]))


@pytest.mark.parametrize(
    ("negative", "scale", "reason"),
    [
        (prompt(1.0), 1.0, "guidance scale is 1"),
        (None, 3.5, "no prompt"),
        (prompt(2.0), 3.5, "prompt and negative prompt are equal"),
    ],
)
def test_guidance_that_changes_nothing_is_skipped_and_said(negative, scale, reason):
    reached = run(GuidedVelocity(network, prompt(2.0), negative, scale))
    assert reached.evaluations == Evaluations(5, 5, BATCH, reason)
    torch.testing.assert_close(reached.x, torch.full_like(reached.x, -2.0))


def test_equal_embeddings_under_different_masks_are_different_prompts():
    masked = Prompt(prompt(2.0).embeds_BLD, torch.tensor([[1.0, 1, 0, 0]]).expand(BATCH, -1))
    assert run(GuidedVelocity(network, masked, prompt(2.0, masked=True), 2.0)).evaluations.guidance_skipped is None
    assert run(GuidedVelocity(network, masked, prompt(2.0), 2.0)).evaluations.guidance_skipped is None
    assert prompt(2.0, masked=True).equals(prompt(2.0, masked=True))


def test_each_integration_counts_from_zero():
    velocity = GuidedVelocity(network, prompt(2.0), None, 3.5)
    first, second = run(velocity, 5).evaluations, run(velocity, 2).evaluations
    assert (first.guided_evals, second.guided_evals) == (5, 2)
    assert first + second == Evaluations(7, 7, BATCH, "no prompt")
