"""Our Fréchet distance beside `scipy.linalg.sqrtm` and torchmetrics' eigenvalues: seconds, and digits that are right.

    python -m worldmodel.benchmarks.studies.frechet_distance [--rounds 3] [--keep]

Features are Gaussian, with a spectrum that falls by e^6 from the first to the last dimension and the same axes in both
sets. All ways are given the same means and covariances and take turns; the least CPU seconds of some rounds count. One
thread: several would spin while they wait for each other, which counts as CPU time. The reference is the sum of the
singular values of R1 R2^T, R from a QR decomposition of the centred features: it never forms a covariance.

Shape legend: N samples, D dimensions.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from tests.support.gaussian_features import features, reference
from worldmodel.benchmarks.metrics.frechet import frechet_distance, frechet_distance_of_features
from worldmodel.benchmarks.studies.results import publish
from worldmodel.errors import MissingDependency
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of

CASES = ((64, 2000), (400, 2000), (400, 256), (768, 2000), (2048, 2500), (2048, 1000))
OURS, SCIPY = "one root L: eigenvalues of L1^T S2 L1 (ours)", "scipy.linalg.sqrtm"
GOAL = 3.0
Gaussian = tuple[Float64[Tensor, " D"], Float64[Tensor, "D D"]]


def by_sqrtm(one: Gaussian, other: Gaussian) -> float:
    """As most published code does it."""
    try:
        from scipy.linalg import sqrtm
    except ImportError:
        raise MissingDependency("scipy is not installed, and this compares with it; pip install scipy") from None
    root = sqrtm((one[1] @ other[1]).numpy())
    traces = one[1].trace() + other[1].trace()
    return float((one[0] - other[0]).square().sum() + traces) - 2 * float(np.trace(root).real)


def by_eigenvalues(one: Gaussian, other: Gaussian) -> float:
    """As torchmetrics does it."""
    overlap = torch.linalg.eigvals(one[1] @ other[1]).sqrt().real.sum()
    return float((one[0] - other[0]).square().sum() + one[1].trace() + other[1].trace() - 2 * overlap)


def measure(dimensions: int, samples: int, rounds: int) -> list[Record]:
    """Least seconds and relative error of each way."""
    sets = [features(dimensions, samples, seed) for seed in (0, 1)]
    first, second = ((x.mean(0), x.T.cov()) for x in sets)
    ways: dict[str, Callable[[], float]] = {
        SCIPY: lambda: by_sqrtm(first, second),
        "torch.linalg.eigvals (torchmetrics)": lambda: by_eigenvalues(first, second),
        OURS: lambda: frechet_distance(*first, *second),
    }
    if samples < dimensions:
        ways["features kept (ours)"] = lambda: frechet_distance_of_features(*sets)
    exact, taken = reference(*sets), {name: [float("inf"), 0.0] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            value = ways[name]()
            taken[name] = [min(taken[name][0], time.process_time() - begun), abs(value / exact - 1)]
    slowest = taken[SCIPY][0]
    return [
        {
            "dimensions": dimensions,
            "samples": samples,
            "way": name,
            "cpu_s": cpu,
            "ratio": slowest / cpu,
            "error": error,
        }
        for name, (cpu, error) in taken.items()
    ]


def text_of(rows: list[Record], rounds: int) -> str:
    """The table for people, and whether the goal is met."""
    lines = [
        {
            "dimensions": row["dimensions"],
            "samples": row["samples"],
            "way": row["way"],
            "CPU-s ↓": f"{row['cpu_s']:.3f}",
            "× faster than sqrtm ↑": f"{row['ratio']:.1f}",
            "relative error ↓": f"{row['error']:.0e}",
        }
        for row in rows
    ]
    most = max(row["dimensions"] for row in rows)
    ratio = min(row["ratio"] for row in rows if row["dimensions"] == most and row["way"] == OURS)
    facts = [
        "# Fréchet distance",
        f"From means and covariances in float64; one thread, the least of {rounds} interleaved rounds.",
        table_of(lines),
        f"Goal, at least {GOAL} × faster than {SCIPY} at {most} dimensions: {ratio:.1f} in the slower of the cases, "
        f"{'met' if ratio >= GOAL else 'missed'}.",
    ]
    return "\n\n".join(facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=2048, help="leave out cases of more dimensions")
    parser.add_argument("--keep", action="store_true", help="write the table and JSON to benchmarks/results by date")
    chosen = parser.parse_args()
    about = machine.describe(("torch", "numpy", "scipy"))
    torch.set_num_threads(1)
    cases = [case for case in CASES if case[0] <= chosen.most]
    rows = [row for dimensions, samples in cases for row in measure(dimensions, samples, chosen.rounds)]
    result = {"benchmark": "frechet_distance", "rounds": chosen.rounds, "rows": rows, "machine": about}
    publish("frechet_distance", text_of(rows, chosen.rounds), result, chosen.keep)


if __name__ == "__main__":
    main()
