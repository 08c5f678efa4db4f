"""Train every variant with every seed, score them, write one JSON document, a table and plots."""

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldmodel.benchmarks import machine
from worldmodel.benchmarks.miniature import plots, scores
from worldmodel.benchmarks.miniature.variants import Budget, runs
from worldmodel.files import written_whole
from worldmodel.prediction import checkpoint_folder
from worldmodel.training import TrainConfig

Result = dict[str, Any]


def run_and_score(config: TrainConfig, clips: int) -> Result:
    """Train (or go on, or take what is there) and score one run; its figures stay beside it as scores.json."""
    import torch

    from worldmodel.pipeline import FlowFramesPipeline
    from worldmodel.training.objectives import FLOWS
    from worldmodel.training.run import train

    torch.set_num_threads(1)
    out = Path(config.out)
    kept = out / "scores.json"
    if not kept.is_file():
        if not (out / "pipeline").is_dir():
            train(_resumed(config))
        base = FlowFramesPipeline.from_pretrained(out / "pipeline")
        assert config.data.root is not None
        held_out = scores.held_out(Path(config.data.root), base, config.data.size, clips)
        found = scores.score_run(out, FLOWS[config.objective].pipeline_class, held_out)
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        found["loss"] = [[line["step"], line["loss"], line["unexplained"]] for line in log]
        found["floor"] = scores.floor(held_out)
        found["seconds"] = log[-1]["seconds"]
        with written_whole(kept) as part:
            part.write_text(json.dumps(found))
    result: Result = json.loads(kept.read_text())
    return result


def _resumed(config: TrainConfig) -> TrainConfig:
    from dataclasses import replace

    return replace(config, resume=(Path(config.out) / "config.json").is_file())


def everything(configs: dict[tuple[str, int], TrainConfig], jobs: int, clips: int) -> dict[str, dict[str, Result]]:
    """Results by variant and seed; `jobs` runs at a time, each with one thread."""
    found: dict[str, dict[str, Result]] = {}
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(run_and_score, config, clips): key for key, config in configs.items()}
        for future in as_completed(waiting):
            name, seed = waiting[future]
            found.setdefault(name, {})[str(seed)] = future.result()
            print(f"done: {name}, seed {seed}", flush=True)
    return found


def cache_first(configs: dict[tuple[str, int], TrainConfig]) -> None:
    """Decode, encode and invert once, before several runs would do so at once."""
    from worldmodel.training import data
    from worldmodel.training.latents import LatentEncoder
    from worldmodel.training.run import open_pipeline

    for inverts in (True, False):
        config = next((one for one in configs.values() if one.inverts is inverts), None)
        if config is not None:
            pairs = data.open_pairs(config.data, config.data.frames[0], data.store_folder(config))
            steps = config.inversion_steps if inverts else 0
            encoder = LatentEncoder(open_pipeline(config).backbone, steps, config.precision)
            data.write_cache(config, pairs, config.data.frames[0], encoder)


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
    configs = runs(given.root, given.work, str(checkpoint_folder(given.base)), budget)
    started = machine.describe(("torch", "diffusers", "accelerate"))
    cache_first(configs)
    result = {
        "budget": asdict(budget),
        "clips": given.clips,
        "variants": everything(configs, given.jobs, given.clips),
        "machine": started,
    }
    if given.keep:
        plots.draw(result, Path(__file__).resolve().parents[2] / "docs")
    machine.publish("miniature", plots.text(result), result, given.keep)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
