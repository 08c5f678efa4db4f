"""Exact checkpoints: safetensors and JSON, each folder whole or absent.

`checkpoints/step-00000100` holds the trained weights, their average, the optimiser's state and `state.json`: step,
schedule, counts, and the settings that decide the result. Nothing else is needed: the order of the samples and all
random numbers follow from the seed and the step (`order`), so that a resumed run is the undisturbed run bit for bit;
with another number of processes of the same global batch it is that up to rounding.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from worldmodel.errors import InputError
from worldmodel.files import remove_partial, save_tensors, written_whole
from worldmodel.measure.report import Record
from worldmodel.training.config import TrainConfig

FULL = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
EARLIER = {"conventions": "paper", "data.video_reader": "pyav"}  # of checkpoints from before there was a choice
INTO = StateDictOptions(full_state_dict=True, strict=False)


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: optimiser steps done. seconds: of training so far.
        skipped_steps: steps whose gradient was not finite. replaced_samples: samples that could not be read.
    """

    step: int = 0
    seconds: float = 0.0
    skipped_steps: int = 0
    replaced_samples: int = 0


@dataclass
class TrainingState:
    """All that changes while training."""

    accelerator: Accelerator
    module: torch.nn.Module
    optimizer: Any
    schedule: Any
    average: EMAModel | None
    fingerprint: Record
    progress: Progress = field(default_factory=Progress)


def checkpoints_of(out: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(folder.parent for folder in out.glob("checkpoints/step-*/state.json"))


def save_checkpoint(state: TrainingState, out: Path, keep: int) -> Path:
    """Write a checkpoint and remove all but the newest `keep`. Every process must call it; the first one writes.

    One of the same step that is there already stays: it is the same.
    """
    optimizer = state.optimizer.optimizer
    weights = get_model_state_dict(state.module, options=FULL)
    moments = get_optimizer_state_dict(state.module, optimizer, options=FULL)
    place = out / "checkpoints" / f"step-{state.progress.step:08d}"
    if state.accelerator.is_main_process and not place.exists():
        remove_partial(out / "checkpoints")
        with written_whole(place) as part:
            part.mkdir()
            _write(part, weights, moments, state)
        for old in checkpoints_of(out)[:-keep]:
            shutil.rmtree(old)
    state.accelerator.wait_for_everyone()
    return place


def _write(folder: Path, weights: dict[str, Any], moments: dict[str, Any], state: TrainingState) -> None:
    save_tensors(_owned(weights), folder / "weights.safetensors")
    flat = {f"{name}|{key}": value for name, entry in moments["state"].items() for key, value in entry.items()}
    save_tensors(_owned(flat), folder / "optimizer.safetensors")
    average = None
    if state.average is not None:
        average = {name: value for name, value in state.average.state_dict().items() if name != "shadow_params"}
        shadow = dict(zip(_trained(state), state.average.shadow_params, strict=True))
        save_tensors(_owned(shadow), folder / "average.safetensors")
    document = {
        "progress": asdict(state.progress),
        "schedule": state.schedule.state_dict(),
        "optimizer": moments["param_groups"],
        "average": average,
        "fingerprint": state.fingerprint,
    }
    (folder / "state.json").write_text(json.dumps(document, indent=1, default=_plain) + "\n")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint's files hold."""

    document: Record
    weights: dict[str, Any]
    moments: Any
    average: dict[str, torch.Tensor]


class Damaged(Exception):
    """A checkpoint that cannot be read as it was written."""


def load_newest(state: TrainingState, out: Path) -> list[str]:
    """Put the newest checkpoint that is whole into `state`; a damaged one is set aside, and a sentence says so.

    Raises:
        InputError: made with other settings, which the message names, or none is whole.
    """
    sentences, damaged = list[str](), list[Path]()
    for newest in reversed(checkpoints_of(out)):
        try:
            contents = read(state, newest)
        except Damaged as error:
            sentences.append(f"{newest}: damaged ({error}), set aside")
            damaged.append(newest)
            continue
        _put(state, contents)
        state.accelerator.wait_for_everyone()  # all have found the same before anything is moved
        if state.accelerator.is_main_process:
            for folder in damaged:
                set_aside(folder)
        return [*sentences, f"{newest}: the run goes on from here"] if damaged else []
    raise InputError(f"{out}: no checkpoint can be read ({'; '.join(sentences)}); begin again with overwrite=true")


def set_aside(folder: Path) -> None:
    """Out of the way of the checkpoint that the run will write for that step."""
    place = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)


def read(state: TrainingState, folder: Path) -> Contents:
    """All of a checkpoint, before anything of `state` is changed.

    Raises:
        InputError: made with other settings. Damaged: a file is absent, cut off, or does not hold what it should.
    """
    try:
        document = json.loads((folder / "state.json").read_text())
        refuse_other_settings(state.fingerprint, document["fingerprint"], folder)
        Progress(**document["progress"])
        weights: dict[str, Any] = {**load_file(folder / "weights.safetensors")}
        moments: dict[str, dict[str, Any]] = {}
        for name, tensor in load_file(folder / "optimizer.safetensors").items():
            parameter, _, key = name.rpartition("|")
            moments.setdefault(parameter, {})[key] = tensor
        average = {} if state.average is None else load_file(folder / "average.safetensors")
        if not {"schedule", "optimizer", "average"} <= document.keys():
            raise Damaged("state.json lacks an entry")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise Damaged(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error
    return Contents(document, weights, moments, average)


def _put(state: TrainingState, contents: Contents) -> None:
    document = contents.document
    set_model_state_dict(state.module, contents.weights, options=INTO)
    set_optimizer_state_dict(
        state.module,
        state.optimizer.optimizer,
        {"state": contents.moments, "param_groups": document["optimizer"]},
        options=StateDictOptions(full_state_dict=True),
    )
    state.schedule.load_state_dict(document["schedule"])
    if state.average is not None:
        shadow = [contents.average[name] for name in _trained(state)]
        state.average.load_state_dict(document["average"] | {"shadow_params": shadow})
        state.average.to(device=state.accelerator.device)
    state.progress = Progress(**document["progress"])


def refuse_other_settings(now: Record, then: Record, folder: Path) -> None:
    """Raise `InputError` that names the settings in which a run and its checkpoint differ."""
    now, then = json.loads(json.dumps(now)), EARLIER | then
    differing = [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]
    if differing:
        changes = ", ".join(f"{name} was {then.get(name)}, is {now.get(name)}" for name in differing)
        raise InputError(f"{folder}: made with other settings ({changes}); set them back or start a new run")


def flat_settings(config: Any, prefix: str = "") -> Record:
    """A nested dataclass as one dictionary with dotted keys."""
    flat: Record = {}
    for name, value in asdict(config).items() if not isinstance(config, dict) else config.items():
        flat |= flat_settings(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def deciding_settings(config: TrainConfig) -> Record:
    """The settings that decide a run's result, which must be the same when it is resumed."""
    free = config.free_on_resume
    flat = flat_settings(config).items()
    return {name: value for name, value in flat if not {name, name.partition(".")[0]} & free}


def _trained(state: TrainingState) -> list[str]:
    """Names of the trained parameters, in the order of the average."""
    bare = state.accelerator.unwrap_model(state.module, keep_torch_compile=False)
    return [name for name, parameter in bare.named_parameters() if parameter.requires_grad]


def _owned(tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else list(value)
