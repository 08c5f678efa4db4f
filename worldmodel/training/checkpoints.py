"""What a run leaves on disk: pipelines (safetensors and JSON), written to a temporary name and renamed."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from worldmodel.errors import InputError
from worldmodel.pipeline import FlowFramesPipeline
from worldmodel.training.config import TrainConfig


def prepare_folder(config: TrainConfig) -> Path:
    """Make the run's folder and write its configuration there; refuse an existing run unless `overwrite` is said."""
    out = Path(config.out)
    if (out / "config.json").exists():
        if not config.overwrite:
            raise InputError(f"out={out} holds a run already: choose another folder or add overwrite=true")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=1) + "\n")
    return out


def save_checkpoint(
    out: Path,
    step: int,
    pipeline: FlowFramesPipeline,
    trained: torch.nn.Module,
    ema: EMAModel | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write `pipeline` (with averaged weights where there are any), the optimiser's tensors and the step."""
    part = out / "checkpoint.part"
    shutil.rmtree(part, ignore_errors=True)
    parameters = list(trained.parameters())
    if ema is not None:
        ema.store(parameters)
        ema.copy_to(parameters)
    pipeline.save_pretrained(part)
    if ema is not None:
        ema.restore(parameters)
        save_file(dict(trained.state_dict()), part / "raw_weights.safetensors")
    save_file(_flat(optimizer), part / "optimizer.safetensors")
    (part / "step.json").write_text(json.dumps({"step": step}))
    _replace(part, out / "checkpoint")


def save_pipeline(out: Path, pipeline: FlowFramesPipeline, training: dict[str, Any]) -> Path:
    """Write the finished pipeline with `training.json`, which says how it was trained."""
    part = out / "pipeline.part"
    shutil.rmtree(part, ignore_errors=True)
    pipeline.save_pretrained(part)
    (part / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    return _replace(part, out / "pipeline")


def _replace(part: Path, place: Path) -> Path:
    """Put `part` where `place` is; at every moment one of the two is whole."""
    old = place.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return place


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value).contiguous()
        for number, entry in state.items()
        for name, value in entry.items()
    }
