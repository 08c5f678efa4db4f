"""Exact transport plans between chunks under masks, and what share of the mass goes to the next chunk.

Shape legend: N chunks of all videos, D numbers of a latent.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from worldmodel.flow.couplings import squared_distances, transport_plan
from worldmodel.measure.report import Record

SHUFFLES = 200


def owners(counts: Sequence[int]) -> Int[Tensor, " N"]:
    """The number of the video that each chunk is of, given how many chunks each video has."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def masks(video_N: Int[Tensor, " N"]) -> dict[str, Bool[Tensor, "N N"]]:
    """Which target (column) each source (row) may go to; `video_N` says whose chunk each is, chunks in order."""
    places_N = torch.arange(len(video_N))
    own_NN, later_NN = video_N[:, None] == video_N, places_N[:, None] < places_N
    return {
        "(a) any but itself": places_N[:, None] != places_N,
        "(b) later, own video": own_NN & later_NN,
        "(c) later, or another video": ~own_NN | later_NN,
    }


def masked(cost_NN: Float64[Tensor, "N N"], permitted_NN: Bool[Tensor, "N N"]) -> Float64[Tensor, "N N"]:
    """The cost with a finite fine, so large that a plan has as few matches that are not permitted as there can be.

    An infinite one would leave (b) without any plan. What cannot be avoided still goes to the nearest.
    """
    return cost_NN + (len(cost_NN) * cost_NN.max() + 1) * ~permitted_NN


def shares(
    plan_NN: Float64[Tensor, "N N"], video_N: Int[Tensor, " N"], permitted_NN: Bool[Tensor, "N N"]
) -> dict[str, float]:
    """Mass on the next chunk of the same video, on the one before, on the same video, and where nothing may go."""
    own_NN = video_N[:, None] == video_N
    return {
        "next": float(plan_NN.diagonal(1)[own_NN.diagonal(1)].sum()),
        "previous": float(plan_NN.diagonal(-1)[own_NN.diagonal(-1)].sum()),
        "same_video": float(plan_NN[own_NN].sum()),
        "not_permitted": float(plan_NN[~permitted_NN].sum()),
    }


def chance(cost_NN: Float64[Tensor, "N N"], video_N: Int[Tensor, " N"], permitted_NN: Bool[Tensor, "N N"]) -> float:
    """Mean mass on the next chunk over plans of the same chunks in shuffled order."""
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(SHUFFLES):
        order_N = torch.randperm(len(cost_NN), generator=generator)
        plan_NN = transport_plan(masked(cost_NN[order_N][:, order_N], permitted_NN))
        total += shares(plan_NN, video_N, permitted_NN)["next"]
    return total / SHUFFLES


def plans(latents_ND: Float[Tensor, "N D"], video_N: Int[Tensor, " N"]) -> list[Record]:
    """By mask: the target of each source, what share goes where, and the chance level of the first of them."""
    cost_NN = squared_distances(latents_ND, latents_ND)
    solved = []
    for name, permitted_NN in masks(video_N).items():
        plan_NN = transport_plan(masked(cost_NN, permitted_NN))
        share = shares(plan_NN, video_N, permitted_NN)
        share["next_by_chance"] = chance(cost_NN, video_N, permitted_NN)
        rounded = {key: round(value, 4) for key, value in share.items()}
        solved.append({"mask": name, "target_of_source": plan_NN.argmax(dim=1).tolist()} | rounded)
    return solved
