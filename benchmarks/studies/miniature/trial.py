"""One run of the miniature, trained and scored, in a process of its own."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from worldmodel.benchmarks.studies.miniature import scores
from worldmodel.files import written_whole
from worldmodel.measure.report import Record
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training import TrainConfig, data
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.objectives import FLOWS
from worldmodel.training.start import starting_pipeline
from worldmodel.training.trainer import train

Result = Record


def write_share(config: TrainConfig, which: int, of: int) -> None:
    """Write every `of`th shard of the latent cache that `config` needs."""
    torch.set_num_threads(1)
    pairs = data.open_pairs(config.data, config.data.frames[0], data.store_folder(config))
    steps = config.inversion_steps * config.inverts
    encoder = LatentEncoder(starting_pipeline(config).backbone, steps, config.precision)
    data.write_cache(config, pairs, encoder, share=(which, of))


def run_and_score(config: TrainConfig, clips: int) -> Result:
    """Train (or go on, or take what is there) and score one run; its figures stay beside it as scores.json."""
    torch.set_num_threads(1)
    out = Path(config.out)
    kept = out / "scores.json"
    if not kept.is_file():
        if not (out / "pipeline").is_dir():
            train(_resumed(config))
        base = FlowFramesPipeline.from_pretrained(out / "pipeline")
        assert config.data.root is not None
        held_out = scores.held_out(Path(config.data.root), base, config.data.size, clips)
        scored = scores.score_run(out, FLOWS[config.objective].pipeline_class, held_out)
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        scored["loss"] = [[line["step"], line["loss"], line["unexplained"]] for line in log]
        scored["floor"] = scores.baseline(held_out)
        scored["seconds"] = log[-1]["seconds"]
        with written_whole(kept) as part:
            part.write_text(json.dumps(scored))
    result: Result = json.loads(kept.read_text())
    return result


def _resumed(config: TrainConfig) -> TrainConfig:
    return replace(config, resume=(Path(config.out) / "config.json").is_file())
