"""Train every variant with every seed, score them, write one JSON document, a table and plots."""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from worldmodel.benchmarks.studies.miniature import plots
from worldmodel.benchmarks.studies.miniature.trial import Result, run_and_score, write_share
from worldmodel.benchmarks.studies.miniature.variants import Budget, runs
from worldmodel.benchmarks.studies.results import publish
from worldmodel.measure import machine
from worldmodel.models.checkpoint import place_of
from worldmodel.training import TrainConfig


def everything(configs: dict[tuple[str, int], TrainConfig], jobs: int, clips: int) -> dict[str, dict[str, Result]]:
    """Results by variant and seed; `jobs` runs at a time, each with one thread."""
    results: dict[str, dict[str, Result]] = {name: {} for name, _ in configs}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("forkserver")) as pool:
        for config in cached_first(configs):  # before several runs would decode, encode and invert the same at once
            list(pool.map(write_share, [config] * jobs, range(jobs), [jobs] * jobs))
        waiting = {pool.submit(run_and_score, config, clips): key for key, config in configs.items()}
        for future in as_completed(waiting):
            name, seed = waiting[future]
            results[name][str(seed)] = future.result()
            print(f"done: {name}, seed {seed}", flush=True)
    return results


def cached_first(configs: dict[tuple[str, int], TrainConfig]) -> list[TrainConfig]:
    """One run for each latent cache that is needed."""
    return list({config.inverts: config for config in configs.values()}.values())


def main() -> None:
    """Run what is asked for, print, and with --keep write result and plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/toyworld"), help="toy world with train and val scenes")
    parser.add_argument("--work", type=Path, default=Path("outputs/miniature"), help="folder of the runs; resumable")
    parser.add_argument("--base", default="tiny_base", help="what is fine-tuned: a shipped checkpoint or a folder")
    parser.add_argument("--clips", type=int, default=24, help="held-out clips that are scored")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results and docs/miniature_*.png")
    given = parser.parse_args()
    budget = Budget(**{name: getattr(given, name) for name in asdict(Budget())})
    configs = runs(given.root, given.work, str(place_of(given.base)), budget)
    started = machine.describe(("torch", "diffusers", "accelerate"))
    result = {
        "budget": asdict(budget),
        "clips": given.clips,
        "variants": everything(configs, given.jobs, given.clips),
        "machine": started,
    }
    if given.keep:
        plots.draw(result, Path(__file__).resolve().parents[3] / "docs")
    publish("miniature", plots.text(result), result, given.keep)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
