"""The folder of a run: its settings, its log, its checkpoints, its pipeline."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from worldmodel.errors import InputError
from worldmodel.files import disk_errors, replace_folder, written_whole
from worldmodel.measure.report import Record
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.config import TrainConfig


def refuse_existing(config: TrainConfig) -> None:
    """Raise `InputError` where `out` holds a run and neither `resume` nor `overwrite` is said, or none to resume."""
    there = (Path(config.out) / "config.json").exists()
    if there and not (config.resume or config.overwrite):
        raise InputError(f"out={config.out} holds a run: add resume=true or overwrite=true, or choose another folder")
    if config.resume and not there:
        raise InputError(f"out={config.out} holds no run to resume: leave resume out, or check the folder")


def prepare(config: TrainConfig) -> Path:
    """Make the run's folder with `config.json`, or open the one to be resumed."""
    refuse_existing(config)
    out = Path(config.out)
    if config.resume:
        return out
    if (out / "config.json").exists():
        shutil.rmtree(out)
    with written_whole(out / "config.json") as part:
        part.write_text(json.dumps(asdict(config), indent=1) + "\n")
    return out


def save_pipeline(out: Path, pipeline: FlowFramesPipeline, training: Record) -> Path:
    """Write the finished pipeline with `training.json`, which says how it was trained."""
    part = out / "pipeline.part"
    shutil.rmtree(part, ignore_errors=True)
    with disk_errors(part):
        pipeline.save_pretrained(part)
    (part / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    return replace_folder(part, out / "pipeline")
