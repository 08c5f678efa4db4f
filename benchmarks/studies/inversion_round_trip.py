"""How exactly RF-Solver's inversion comes back: chunks to noise and back again with the same solver, by steps and grid.

    python -m worldmodel.benchmarks.studies.inversion_round_trip [--root data/toyworld] [--chunks 4] [--keep]

Future chunks of the toy world are encoded, inverted (sigma 0 to 1) and integrated back (1 to 0) along the same sigmas;
the error is the L2 distance to where a chunk started, relative to its norm. Two evaluations a step each way.

Where the velocity is smooth the error falls 8x when steps double: the midpoint rule is of second order one way, and the
way back takes the leading part of its error back. The other two tables show whether the network is smooth in sigma: how
far its velocity changes over small distances, and the same trips where it is made smooth.

Shape legend: B chunks; a trailing ... is whatever the latents are, usually C f h w.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.errors import InputError
from worldmodel.flow.inversion import midpoint
from worldmodel.flow.solvers import Evaluations, Integration, Velocity
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of
from worldmodel.models.checkpoint import checkpoint_hashes, trained_chunk
from worldmodel.models.families import family_of
from worldmodel.models.open import open_pipeline
from worldmodel.pixels import signed_from_uint8

STEPS = (10, 25, 50, 100, 200)
FEW = (25, 50)
GOAL = 1e-3
GRIDS = {"equal steps": 1.0, "denser near sigma 1 (shift 3)": 3.0}  # FLUX has shift 3.2 in RF-Solver's own code
SMOOTHING = 0.03
SIGMAS, DISTANCES = (0.1, 0.5, 0.9), (0.0025, 0.01, 0.04)
Latents = Float[Tensor, "B ..."]


# --- round trips ----------------------------------------------------------------------------------------------------
def grid(steps: int, shift: float = 1.0) -> list[float]:
    """`steps` + 1 sigmas from 0 to 1; a `shift` above 1 puts more of them near 1."""
    equal = np.linspace(0, 1, steps + 1)
    return (shift * equal / (1 + (shift - 1) * equal)).tolist()


def follow(velocity: Velocity, x: Latents, sigmas: Sequence[float]) -> Integration:
    """`x` carried along the sigmas, a step of the library's RF-Solver from each to the next."""
    total = Evaluations()
    for sigma, sigma_next in pairwise(sigmas):
        step = midpoint(velocity, x, sigma, sigma_next, 1)
        x, total = step.x, total + step.evaluations
    return Integration(x, total)


def round_trip(velocity: Velocity, x_target: Latents, steps: int, shift: float = 1.0) -> Record:
    """There and back along the same sigmas: the error of every chunk, and evaluations a step."""
    sigmas = grid(steps, shift)
    there = follow(velocity, x_target, sigmas)
    back = follow(velocity, there.x, sigmas[::-1])
    evaluations = there.evaluations.guided_evals + back.evaluations.guided_evals
    errors = relative(back.x, x_target)
    return {"steps": steps, "evaluations_per_step": evaluations / (2 * steps), "errors": errors}


def relative(found: Latents, true: Latents) -> list[float]:
    """L2 distance over L2 norm, by chunk."""
    return ((found - true).flatten(1).norm(dim=1) / true.flatten(1).norm(dim=1)).tolist()


def sweep(velocity: Velocity, x_target: Latents, steps: Sequence[int], shift: float = 1.0) -> list[Record]:
    """A round trip for each number of steps."""
    return [round_trip(velocity, x_target, number, shift) for number in steps]


# --- fields ---------------------------------------------------------------------------------------------------------
def velocity_of(backbone: Backbone, frame_rate: float) -> Velocity:
    """The network without prompt and guidance, as the latent cache inverts with it."""
    prompt, mask = backbone.empty_prompt()

    @torch.no_grad()
    def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
        return backbone.velocity(x, sigma_B, prompt.to(x).expand(len(x), -1, -1), mask, frame_rate)

    return velocity


class SmoothedTime(nn.Module):
    """The embedding of the timestep, averaged over sigma plus and minus `width`."""

    def __init__(self, embed: nn.Module, width: float, points: int = 33) -> None:
        super().__init__()
        self.embed, self.shifts = embed, 1000 * torch.linspace(-width, width, points)

    def forward(self, timestep_B: Tensor, **others: Any) -> tuple[Tensor, Tensor]:
        spread = (timestep_B[:, None] + self.shifts.to(timestep_B)).flatten()
        embeddings = self.embed(spread, **{**others, "batch_size": len(spread)})
        modulation, embedded = (embedding.unflatten(0, (len(timestep_B), -1)).mean(1) for embedding in embeddings)
        return modulation, embedded


def smooth_fields(backbone: Backbone, velocity: Velocity, x_target: Latents, steps: Sequence[int]) -> Record:
    """Round trips through the network told one sigma everywhere, and with its embedding of sigma averaged."""
    network: Any = backbone.transformer
    sweeps = {"timestep frozen at 500": sweep(lambda x, s: velocity(x, torch.full_like(s, 0.5)), x_target, steps)}
    embed = network.time_embed
    network.time_embed = SmoothedTime(embed, SMOOTHING)
    sweeps[f"timestep embedding averaged over sigma ± {SMOOTHING}"] = sweep(velocity, x_target, steps)
    network.time_embed = embed
    return sweeps


def roughness(velocity: Velocity, x_target: Latents, noise: Latents) -> list[Record]:
    """Change of the velocity over distances in sigma, relative to the velocity; mean over chunks, on straight paths."""
    changes = []
    for sigma in SIGMAS:
        x = sigma * noise + (1 - sigma) * x_target
        here, *there = (velocity(x, x.new_full((len(x),), sigma + far)) for far in (0, *DISTANCES))
        changes.append({"sigma": sigma, "change": [float(np.mean(relative(far, here))) for far in there]})
    return changes


# --- results --------------------------------------------------------------------------------------------------------
def toy_chunks(
    backbone: Backbone, root: Path, number: int, length: int, size: tuple[int, int]
) -> tuple[Latents, float]:
    """Latents of the future chunks of `number` validation scenes, front camera, and their frame rate."""
    pairs = chunk_pairs(
        open_index(root, "v1.0-toy"), split="val", cameras="CAM_FRONT", observed_frames=length, future_frames=length,
        stride=2 * length, size=size,
    )  # fmt: skip
    if len(pairs) < number:
        raise InputError(f"{root}: {len(pairs)} pairs in its validation scenes; give --chunks at most that many")
    chosen = [pairs[place] for place in np.linspace(0, len(pairs) - 1, number).round().astype(int).tolist()]
    frames = torch.cat([pair.future_NGCHW for pair in chosen]).transpose(1, 2)
    with torch.no_grad():
        return backbone.encode(signed_from_uint8(frames)).mean_BCfhw, chosen[0].frame_rate


def measure(backbone: Backbone, x_target: Latents, frame_rate: float, steps: Sequence[int]) -> Record:
    """Round trips by grid and steps, how the velocity changes, and round trips of smooth fields with few steps."""
    velocity = velocity_of(backbone, frame_rate)
    grids = {name: sweep(velocity, x_target, steps, shift) for name, shift in GRIDS.items()}
    changes = roughness(velocity, x_target, follow(velocity, x_target, grid(FEW[-1])).x)
    return {"grids": grids, "roughness": changes, "fields": smooth_fields(backbone, velocity, x_target, FEW)}


def trips_text(title: str, found: dict[str, list[Record]]) -> str:
    """A row per grid or field, a column per number of steps: mean error, the order seen since the last, the worst."""
    rows = []
    for name, trips in found.items():
        row, last = {title: name}, None
        for trip in trips:
            steps, error = trip["steps"], float(np.mean(trip["errors"]))
            order = f", order {log(last[1] / error) / log(steps / last[0]):.1f}" if last else ""
            row[f"{steps} steps"] = f"{error:.1e}{order} (worst {max(trip['errors']):.1e})"
            last = steps, error
        rows.append(row)
    return table_of(rows)


def verdict(name: str, trips: Sequence[Record]) -> str:
    """From how many steps on every chunk reaches the goal."""
    missed = [trip["steps"] for trip in trips if max(trip["errors"]) >= GOAL]
    within = [trip["steps"] for trip in trips if trip["steps"] > max(missed, default=0)]
    return f"Goal, below {GOAL:g} for every chunk, {name}: {f'from {within[0]} steps on' if within else 'missed'}."


def text_of(found: Record) -> str:
    """Everything for people."""
    first = next(iter(found["grids"].values()))[0]
    changes = [
        {"sigma": row["sigma"]} | {f"{far:g} on": f"{x:.1%}" for far, x in zip(DISTANCES, row["change"], strict=True)}
        for row in found["roughness"]
    ]
    parts = [
        "# There and back with RF-Solver",
        f"Relative L2 error, mean over {len(first['errors'])} chunks of latents {found['latents']}; float32, "
        f"{first['evaluations_per_step']:g} evaluations a step.",
        trips_text("grid", found["grids"]),
        "\n".join(verdict(name, trips) for name, trips in found["grids"].items()),
        "Change of the velocity over a distance in sigma:",
        table_of(changes),
        "The same chunks in equal steps, the network smooth in sigma:",
        trips_text("field", found["fields"]),
    ]
    return "\n\n".join(parts)


def compare(chosen: argparse.Namespace) -> None:
    """Measure, print the tables and the JSON line."""
    about, checkpoint = machine.describe(("torch", "diffusers")), chosen.checkpoint
    backbone = open_pipeline(checkpoint, device="cpu").backbone
    x_target, frame_rate = toy_chunks(
        backbone, chosen.root, chosen.chunks, *trained_chunk(checkpoint, family_of(backbone))
    )
    result = {
        "benchmark": "inversion_round_trip", "checkpoint": chosen.checkpoint, "chunks": chosen.chunks,
        **checkpoint_hashes(checkpoint, None), "latents": list(x_target.shape[1:]), "goal": GOAL,
        **measure(backbone, x_target, frame_rate, chosen.steps),
    }  # fmt: skip
    publish("inversion_round_trip", text_of(result), result | {"machine": about}, chosen.keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/toyworld"), help="toy world, v1.0-toy")
    parser.add_argument("--checkpoint", default="tiny_base", help="a shipped one by name, or the folder of a pipeline")
    parser.add_argument("--chunks", type=int, default=4, help="future chunks, from validation scenes")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="ascending")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
