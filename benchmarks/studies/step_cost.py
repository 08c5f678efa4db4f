"""What a training step of Algorithm 1 costs beside one of Algorithm 3, and beside the other objectives.

    python -m worldmodel.benchmarks.studies.step_cost [--checkpoint tiny_base] [--rounds 30] [--keep]

A step: the next batch from a latent cache on disk, the objective forward under autocast, backward, clipping, AdamW.
All objectives train the same network, each with its own optimiser, on pairs of one shape (17 + 17 frames of 128 x 192
as the tiny network sees them: 480 tokens). Algorithm 1 reads a cache that holds the inverted chunks as well, the
others one without. The latents are random: numbers do not change what a step costs. Objectives take turns, in
alternating direction; a ratio is the median over rounds of CPU time against Algorithm 3 in the same round. One thread:
several would spin while they wait for each other, which counts as CPU time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.studies.cache_feeding import batches, write_cache
from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.pairs import Batch
from worldmodel.flow.couplings import Coupling
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of
from worldmodel.models.checkpoint import checkpoint_hashes
from worldmodel.models.open import open_pipeline
from worldmodel.training.attention import fastest_attention
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.latent_cache import LatentCache
from worldmodel.training.objectives import FLOWS, in_float32
from worldmodel.training.optimizer import adamw
from worldmodel.training.order import Draws

ALGORITHM_1, ALGORITHM_3 = "Algorithm 1: inherent + inversion", "Algorithm 3: inherent"
OBJECTIVES: dict[str, tuple[str, float]] = {
    ALGORITHM_3: ("flowframes", 0.0),
    ALGORITHM_1: ("flowframes", 0.7),
    "Algorithm 2: independent": ("independent", 0.0),
    "minibatch optimal transport": ("minibatch_ot", 0.0),
    "noise-conditioned (twice the tokens)": ("noise_conditioned", 0.0),
}
FRAMES, SIZE = 17, (128, 192)
WARM_UP, PREPARED = 2, 200  # rounds
GOAL = 1.05
ENDLESS = 10**9


class Turn:
    """An objective's way to take its turn: the next batch of its cache, and a training step on it."""

    def __init__(self, config: TrainConfig, backbone: Backbone, cache: LatentCache) -> None:
        self.config = config
        self.objective = FLOWS[config.objective](backbone, config)
        self.trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.optimizer = adamw(config.settled.optimizer, self.trained)
        self.read: Iterator[Batch] = iter(batches(cache, config.batch_size, ENDLESS, 0, config.seed))

    def step(self) -> None:
        """Read, forward, backward, clip, AdamW."""
        batch = next(self.read)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            loss = self.objective(batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.config.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def prepare(self) -> Coupling:
        """What of a step differs between Algorithms 1 and 3: reading the batch, and the coupling."""
        batch = next(self.read)
        assert batch.latents is not None
        return self.objective.coupling(in_float32(batch.latents), Draws(batch.seeds))


def turns(backbone: Backbone, folder: Path, size: tuple[int, int], batch_size: int, precision: str) -> dict[str, Turn]:
    """A turn of every objective, on caches of random latents written below `folder`."""
    backbone.transformer.requires_grad_(True).train()  # type: ignore[attr-defined]
    latents = backbone.geometry.latent_shape(FRAMES, *size)
    caches = {kept: write_cache(folder / str(kept), 8 * batch_size, latents, kept) for kept in (False, True)}
    turns_by_name = {}
    for name, (objective, rho) in OBJECTIVES.items():
        config: Any = {"objective": objective, "rho": rho, "batch_size": batch_size, "precision": precision}
        turns_by_name[name] = Turn(TrainConfig(DataConfig("latents"), **config), backbone, caches[rho > 0])
    return turns_by_name


def measure(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU and clock seconds of every way by round, after `WARM_UP` rounds."""
    times: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "clock": []} for name in ways}
    with fastest_attention(torch.device("cpu")):
        for number in range(-WARM_UP, rounds):
            for name in list(ways)[:: 1 if number % 2 else -1]:
                cpu, clock = time.process_time(), time.perf_counter()
                ways[name]()
                taken = {"cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock}
                if number >= 0:
                    for kind, seconds in taken.items():
                        times[name][kind].append(seconds)
    return times


def rows_of(found: dict[str, dict[str, list[float]]]) -> list[Record]:
    """Median seconds, and median and quartiles of the ratio to Algorithm 3 in the same round."""
    rows = []
    for name, taken in found.items():
        ratios = {
            kind: [mine / its for mine, its in zip(taken[kind], found[ALGORITHM_3][kind], strict=True)]
            for kind in taken
        }
        low, _, high = quantiles(ratios["cpu"], n=4)
        rows.append(
            {
                "objective": name,
                "cpu_s": median(taken["cpu"]),
                "clock_s": median(taken["clock"]),
                "ratio": median(ratios["cpu"]),
                "ratio_quartiles": [low, high],
                "ratio_clock": median(ratios["clock"]),
            }
        )
    return rows


def text_of(result: Record) -> str:
    """The table for people, and whether the goal is met."""
    lines = [
        {
            "objective": row["objective"],
            "CPU-s a step ↓": f"{row['cpu_s']:.3f}",
            "× Algorithm 3 ↓": f"{row['ratio']:.3f}",
            "quartiles": f"{row['ratio_quartiles'][0]:.3f} to {row['ratio_quartiles'][1]:.3f}",
            "× by the clock": f"{row['ratio_clock']:.3f}",
        }
        for row in result["rows"]
    ]
    ratio = next(row["ratio"] for row in result["rows"] if row["objective"] == ALGORITHM_1)
    inverted, plain = (1e3 * result["prepare_cpu_s"][name] for name in (ALGORITHM_1, ALGORITHM_3))
    step = 1e3 * next(row["cpu_s"] for row in result["rows"] if row["objective"] == ALGORITHM_3)
    facts = [
        "# Cost of a training step",
        f"{result['batch_size']} pairs a step, {result['tokens']} tokens each, autocast {result['precision']}; one "
        f"thread, {result['rounds']} interleaved rounds.",
        table_of(lines),
        f"All that differs between Algorithms 1 and 3, reading a batch and coupling it, alone: {inverted:.2f} and "
        f"{plain:.2f} CPU-ms, so {(inverted - plain) / step:+.2%} of a step.",
        f"Goal, Algorithm 1 at most {GOAL} × Algorithm 3: {ratio:.3f}, {'met' if ratio <= GOAL else 'missed'}.",
    ]
    return "\n\n".join(facts)


def compare(chosen: argparse.Namespace) -> None:
    """Measure, print the table and the JSON line."""
    about, checkpoint = machine.describe(("torch", "diffusers", "pot")), chosen.checkpoint
    backbone = open_pipeline(checkpoint, device="cpu").backbone
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="step-cost-") as work:
        ways = turns(backbone, Path(work), SIZE, chosen.batch_size, chosen.precision)
        times = measure({name: turn.step for name, turn in ways.items()}, chosen.rounds)
        both = {name: ways[name].prepare for name in (ALGORITHM_1, ALGORITHM_3)}
        prepared = {name: median(taken["cpu"]) for name, taken in measure(both, PREPARED).items()}
    result = {
        "benchmark": "step_cost", "tokens": backbone.geometry.tokens(FRAMES, *SIZE), "batch_size": chosen.batch_size,
        "precision": chosen.precision, "rounds": chosen.rounds, **checkpoint_hashes(checkpoint, None),
        "rows": rows_of(times), "prepare_cpu_s": prepared,
    }  # fmt: skip
    publish("step_cost", text_of(result), result | {"machine": about}, chosen.keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tiny_base", help="a shipped one by name, or the folder of a pipeline")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--keep", action="store_true", help="write the table and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
