"""How exactly RF-Solver's inversion comes back: chunks to noise and back again with the same solver, by steps.

    python -m worldmodel.benchmarks.inversion_round_trip [--root data/toyworld] [--keep]

Future chunks of the toy world are encoded, inverted (sigma 0 to 1) and integrated back (1 to 0) with the same number of
steps; the error is the L2 distance to where they started, relative to its norm. Two evaluations a step each way.

Where the goal is missed the rest looks for the reason and for ways round it: the same field with its timestep frozen,
with the embedding of the timestep smoothed over sigma, in float64; how fast the velocity changes along sigma and along
x; the error by stretch of sigma and with ever finer steps on one short stretch; other grids and other rules.

Shape legend: B chunks; a trailing ... is whatever the latents are, usually C f h w.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks import machine
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.errors import InputError
from worldmodel.flow.inversion import invert, midpoint
from worldmodel.flow.solvers import CountedVelocity, Velocity
from worldmodel.pipeline import FlowFramesPipeline
from worldmodel.prediction import PredictConfig, checkpoint_folder, chunk_of
from worldmodel.provenance import folder_hash

STEPS = (10, 25, 50, 100, 200)
GOAL = 1e-3
DISTANCES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04)
SMOOTHINGS = (0.003, 0.01, 0.03)
STRETCH = (0.5, 0.54)
Rule = Callable[[Velocity, Tensor, float, float], Tensor]
Latents = Float[Tensor, "B ..."]


# --- fields and chunks ----------------------------------------------------------------------------------------------
def velocity_of(backbone: Backbone, frame_rate: float) -> Velocity:
    """The network without prompt and guidance, as the latent cache inverts with it."""
    prompt, mask = backbone.empty_prompt()

    @torch.no_grad()
    def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
        return backbone.velocity(x, sigma_B, prompt.to(x), mask, frame_rate)

    return velocity


def frozen(velocity: Velocity, sigma: float) -> Velocity:
    """The same field with the network told `sigma` everywhere."""
    return lambda x, sigma_B: velocity(x, torch.full_like(sigma_B, sigma))


class SmoothedTime(nn.Module):
    """The embedding of the timestep, averaged over sigma plus and minus `width`."""

    def __init__(self, embed: nn.Module, width: float, points: int = 33) -> None:
        super().__init__()
        self.embed, self.shifts = embed, 1000 * torch.linspace(-width, width, points)

    def forward(self, timestep_B: Tensor, **others: Any) -> tuple[Tensor, Tensor]:
        spread = (timestep_B[:, None] + self.shifts.to(timestep_B)).flatten()
        found = self.embed(spread, **{**others, "batch_size": len(spread)})
        modulation, embedded = (each.unflatten(0, (len(timestep_B), -1)).mean(1) for each in found)
        return modulation, embedded


@contextmanager
def smoothed(transformer: Any, width: float) -> Iterator[None]:
    """An LTX transformer whose timestep embedding is smoothed within the block."""
    embed = transformer.time_embed
    transformer.time_embed = SmoothedTime(embed, width)
    try:
        yield
    finally:
        transformer.time_embed = embed


def toy_chunks(backbone: Backbone, root: Path, number: int, length: int, size: tuple[int, int]) -> tuple[Tensor, float]:
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
        return backbone.encode(frames.float() / 127.5 - 1).mean_BCfhw, chosen[0].frame_rate


# --- grids and rules ------------------------------------------------------------------------------------------------
def grid(steps: int, shift: float = 1.0, least: float = 0.0) -> list[float]:
    """Sigmas from `least` to 1; `shift` above 1 puts more of them near 1, below 1 near `least`."""
    equal = np.linspace(0, 1, steps + 1)
    return (least + (1 - least) * shift * equal / (1 + (shift - 1) * equal)).tolist()


def explicit_midpoint(velocity: Velocity, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """RF-Solver's step, two evaluations."""
    step = sigma_next - sigma
    middle = x + step / 2 * velocity(x, rows(sigma, x))
    return x + step * velocity(middle, rows(sigma + step / 2, x))


def heun(velocity: Velocity, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """The mean of both ends' velocities, two evaluations, second order as well."""
    step, first = sigma_next - sigma, velocity(x, rows(sigma, x))
    return x + step / 2 * (first + velocity(x + step * first, rows(sigma_next, x)))


def implicit_midpoint(velocity: Velocity, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """The midpoint between where a step begins and where it ends, found in four evaluations.

    Solved exactly, a step back would undo a step there, however rough the field.
    """
    step = sigma_next - sigma
    middle = x + step / 2 * velocity(x, rows(sigma, x))
    for _ in range(2):
        middle = x + step / 2 * velocity(middle, rows(sigma + step / 2, x))
    return x + step * velocity(middle, rows(sigma + step / 2, x))


def rows(sigma: float, x: Tensor) -> Float[Tensor, " B"]:
    """One sigma for every chunk."""
    return torch.full((len(x),), sigma, dtype=torch.float32, device=x.device)


def follow(rule: Rule, velocity: Velocity, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """`x` carried along the sigmas, a step of `rule` from each to the next."""
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:], strict=True):
        x = rule(velocity, x, sigma, sigma_next)
    return x


def relative(found: Tensor, true: Tensor) -> float:
    """L2 distance over L2 norm."""
    return float((found - true).norm() / true.norm())


# --- round trips ----------------------------------------------------------------------------------------------------
def round_trip(velocity: Velocity, x_target: Latents, steps: int) -> dict[str, float]:
    """There with `flow.inversion.invert`, back with its `midpoint`: error, and evaluations a step."""
    counted = CountedVelocity(velocity)
    there = invert(counted, x_target, steps)
    back = midpoint(counted, there.x, 1.0, 0.0, steps)
    evaluations = there.evaluations.guided_evals + back.evaluations.guided_evals
    return {"steps": steps, "error": relative(back.x, x_target), "evaluations_per_step": evaluations / (2 * steps)}


def round_trip_by(rule: Rule, velocity: Velocity, x_target: Latents, sigmas: Sequence[float]) -> tuple[float, float]:
    """Error of `rule` there and back along `sigmas`, and evaluations each way."""
    counted = CountedVelocity(velocity)
    noise = follow(rule, counted, x_target, sigmas)
    back = follow(rule, counted, noise, sigmas[::-1])
    return relative(back, x_target), counted.evaluations.guided_evals / 2


def sweep(velocity: Velocity, x_target: Latents, steps: Sequence[int]) -> list[dict[str, float]]:
    """A round trip for each number of steps."""
    return [round_trip(velocity, x_target, number) for number in steps]


def ways(velocity: Velocity, x_target: Latents, steps: Sequence[int]) -> list[dict[str, Any]]:
    """Other grids and rules, each at several numbers of steps."""
    chosen: dict[str, tuple[Rule, dict[str, float]]] = {
        "RF-Solver, equal steps": (explicit_midpoint, {}),
        "steps denser near sigma 1 (shift 3)": (explicit_midpoint, {"shift": 3.0}),
        "steps denser near sigma 0 (shift 1/3)": (explicit_midpoint, {"shift": 1 / 3}),
        "from sigma 0.02": (explicit_midpoint, {"least": 0.02}),
        "Heun": (heun, {}),
        "implicit midpoint": (implicit_midpoint, {}),
    }
    found = []
    for name, (rule, options) in chosen.items():
        for number in steps:
            error, evaluations = round_trip_by(rule, velocity, x_target, grid(number, **options))
            found.append({"way": name, "steps": number, "evaluations": evaluations, "error": error})
    return found


# --- reasons --------------------------------------------------------------------------------------------------------
def other_fields(backbone: Backbone, velocity: Velocity, x_target: Latents, steps: Sequence[int]) -> dict[str, Any]:
    """Round trips through the field as it is, frozen, smoothed along sigma, and in float64."""
    network: Any = backbone.transformer
    found = {"as it is": sweep(velocity, x_target, steps)}
    found["timestep frozen at 500"] = sweep(frozen(velocity, 0.5), x_target, steps)
    for width in SMOOTHINGS:
        with smoothed(network, width):
            found[f"timestep embedding averaged over sigma ± {width}"] = sweep(velocity, x_target, steps)
    network.double()
    found["float64"] = sweep(velocity, x_target.double(), steps[:1])
    network.float()
    return found


def roughness(velocity: Velocity, x_target: Latents, noise: Latents, sigmas: Sequence[float]) -> list[dict[str, Any]]:
    """At points of the straight path: change of the velocity over a distance in sigma, relative to the velocity, and
    the largest growth of a small change of x (power iteration on finite differences, a lower bound)."""
    found = []
    for sigma in sigmas:
        x = sigma * noise + (1 - sigma) * x_target
        here = velocity(x, rows(sigma, x))
        changes = [relative(velocity(x, rows(sigma + distance, x)), here) for distance in DISTANCES]
        found.append({"sigma": sigma, "change": changes, "along_x": growth(velocity, x, here, sigma)})
    return found


def growth(velocity: Velocity, x: Latents, here: Latents, sigma: float, rounds: int = 10) -> float:
    """Norm of the velocity's derivative along the direction in x that power iteration finds."""
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    size, small = 0.0, 1e-2 * float(x.norm())
    for _ in range(rounds):
        direction = direction / direction.norm()
        direction = (velocity(x + small * direction, rows(sigma, x)) - here) / small
        size = float(direction.norm())
    return size


def by_stretch(velocity: Velocity, x_target: Latents, steps: int, stretches: int = 5) -> list[dict[str, float]]:
    """There and back over one stretch of sigma at a time, with steps of 1 / `steps`."""
    found, x = [], x_target
    edges = np.linspace(0, 1, stretches + 1).tolist()
    for sigma, sigma_next in zip(edges[:-1], edges[1:], strict=True):
        further = midpoint(velocity, x, sigma, sigma_next, steps // stretches).x
        back = midpoint(velocity, further, sigma_next, sigma, steps // stretches).x
        found.append({"from": sigma, "to": sigma_next, "error": relative(back, x)})
        x = further
    return found


def finer(velocity: Velocity, x: Latents, numbers: Sequence[int]) -> list[dict[str, float]]:
    """There and back over the short `STRETCH` with ever finer steps: where the order is what theory says."""
    found = []
    for number in numbers:
        there = midpoint(velocity, x, *STRETCH, number).x
        back = midpoint(velocity, there, *STRETCH[::-1], number).x
        found.append({"step": (STRETCH[1] - STRETCH[0]) / number, "error": relative(back, x)})
    return found


# --- results --------------------------------------------------------------------------------------------------------
def measure(backbone: Backbone, x_target: Latents, frame_rate: float, chosen: argparse.Namespace) -> dict[str, Any]:
    """Round trips of all chunks by steps; everything else on the first chunk."""
    velocity, first = velocity_of(backbone, frame_rate), x_target[:1]
    found: dict[str, Any] = {"trained": sweep(velocity, x_target, chosen.steps)}
    with random_weights(backbone):
        found["random weights"] = sweep(velocity, first, chosen.few)
    found["ways"] = ways(velocity, first, chosen.few)
    found["fields"] = other_fields(backbone, velocity, first, chosen.few)
    noise = invert(velocity, first, max(chosen.few)).x
    found["roughness"] = roughness(velocity, first, noise, (0.05, 0.2, 0.5, 0.8, 0.95))
    found["stretches"] = {str(number): by_stretch(velocity, first, number) for number in chosen.few}
    half = midpoint(velocity, first, 0.0, STRETCH[0], max(chosen.few)).x
    found["finer"] = finer(velocity, half, chosen.finer)
    return found


@contextmanager
def random_weights(backbone: Backbone) -> Iterator[None]:
    """The backbone with a new network of the same sizes within the block."""
    trained: Any = backbone.transformer
    torch.manual_seed(0)
    backbone.transformer = type(trained).from_config(trained.config).eval()
    try:
        yield
    finally:
        backbone.transformer = trained


def columns(trips: Sequence[dict[str, float]]) -> dict[str, str]:
    """Errors as cells by number of steps."""
    return {f"{trip['steps']:.0f} steps": f"{trip['error']:.1e}" for trip in trips}


def sweep_text(found: dict[str, Any]) -> str:
    """The round trips and the verdict on the goal."""
    trips = found["trained"]
    tables = [machine.table([{"network": name} | columns(found[name])]) for name in ("trained", "random weights")]
    within = [trip["steps"] for trip in trips if trip["error"] < GOAL]
    reached = f"reached with {within[0]} steps of those tried" if within else "not reached"
    evaluations = sorted({trip["evaluations_per_step"] for trip in trips})
    verdict = f"Goal, below {GOAL:g}: {reached}. Evaluations a step: {', '.join(f'{each:g}' for each in evaluations)}."
    return "\n\n".join([*tables, verdict])


def ways_text(found: Sequence[dict[str, Any]]) -> str:
    """A row per way, a column per number of steps."""
    by_way: dict[str, dict[str, str]] = {}
    for each in found:
        row = by_way.setdefault(each["way"], {"way": each["way"], "evaluations a step": ""})
        row["evaluations a step"] = f"{each['evaluations'] / each['steps']:g}"
        row[f"{each['steps']} steps"] = f"{each['error']:.1e}"
    return machine.table(list(by_way.values()))


def fields_text(found: dict[str, Any]) -> str:
    """A row per field; where one was not run with as many steps, an empty cell."""
    most = columns(found["as it is"])
    return machine.table([{"field": name} | dict.fromkeys(most, "") | columns(trips) for name, trips in found.items()])


def roughness_text(found: Sequence[dict[str, Any]]) -> str:
    """A row per sigma."""
    lines = []
    for each in found:
        cells = {f"{far:g} on": f"{change:.1%}" for far, change in zip(DISTANCES, each["change"], strict=True)}
        lines.append({"sigma": each["sigma"]} | cells | {"growth along x": f"{each['along_x']:.1f}"})
    return machine.table(lines)


def stretches_text(found: dict[str, Sequence[dict[str, float]]]) -> str:
    """A row per number of steps, a column per stretch of sigma."""
    lines = [
        {"steps over 0 to 1": number}
        | {f"{each['from']:.1f} to {each['to']:.1f}": f"{each['error']:.1e}" for each in parts}
        for number, parts in found.items()
    ]
    return machine.table(lines)


def finer_text(found: Sequence[dict[str, float]]) -> str:
    """A row per step size, with the factor by which the error fell."""
    before = [None, *(each["error"] for each in found[:-1])]
    lines = [
        {
            "step in sigma": f"{each['step']:.2g}",
            "error": f"{each['error']:.1e}",
            "fell by": f"{last / each['error']:.1f}" if last else "",
        }
        for each, last in zip(found, before, strict=True)
    ]
    return machine.table(lines)


def text_of(found: dict[str, Any], chunks: int, shape: Sequence[int]) -> str:
    """Everything for people."""
    head = f"Relative L2 error of {chunks} chunks of latents {list(shape)}, float32; from the second table on, of one."
    parts = {
        "": f"{head}\n\n{sweep_text(found)}",
        "Other grids and rules": ways_text(found["ways"]),
        "The same network, its field changed": fields_text(found["fields"]),
        "Change of the velocity over a distance in sigma, and along x": roughness_text(found["roughness"]),
        "Error by stretch of sigma": stretches_text(found["stretches"]),
        f"Ever finer steps from sigma {STRETCH[0]:g} to {STRETCH[1]:g} and back": finer_text(found["finer"]),
    }
    sections = [f"## {title}\n\n{body}" if title else body for title, body in parts.items()]
    return "\n\n".join(["# There and back with RF-Solver", *sections])


def compare(chosen: argparse.Namespace) -> None:
    """Measure, print the tables and the JSON line."""
    about, checkpoint = machine.describe(("torch", "diffusers")), checkpoint_folder(chosen.checkpoint)
    backbone = FlowFramesPipeline.from_pretrained(checkpoint, dtype=torch.float32).backbone
    length, size = chunk_of(PredictConfig(""), checkpoint)
    x_target, frame_rate = toy_chunks(backbone, chosen.root, chosen.chunks, length, size)
    found = measure(backbone, x_target, frame_rate, chosen)
    result = {
        "benchmark": "inversion_round_trip", "checkpoint": chosen.checkpoint, "chunks": chosen.chunks,
        "checkpoint_sha256": folder_hash(checkpoint), "latents": list(x_target.shape[1:]), "goal": GOAL, **found,
    }  # fmt: skip
    text = text_of(found, chosen.chunks, x_target.shape[1:])
    machine.publish("inversion_round_trip", text, result | {"machine": about}, chosen.keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/toyworld"), help="toy world, v1.0-toy")
    parser.add_argument("--checkpoint", default="tiny_base", help="a shipped one by name, or the folder of a pipeline")
    parser.add_argument("--chunks", type=int, default=2, help="future chunks, from validation scenes")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="of the round trips of all chunks")
    parser.add_argument("--few", type=int, nargs="+", default=(25, 50, 100), help="steps wherever ways are compared")
    parser.add_argument("--finer", type=int, nargs="+", default=(1, 2, 4, 8, 16, 32, 64), help="steps on the stretch")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
