"""The end of a run: the trained pipeline, with what says how it came about."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from worldmodel.measure.machine import device_name, versions
from worldmodel.measure.report import Record
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.adapters import merge_adapters
from worldmodel.training.checkpoints import TrainingState, save_checkpoint
from worldmodel.training.chunks import ChunkCrops
from worldmodel.training.latent_stats import set_latent_moments
from worldmodel.training.loop import Loop
from worldmodel.training.objectives import Objective
from worldmodel.training.run_folder import save_pipeline


def write_result(
    loop: Loop, pipeline: FlowFramesPipeline, objective: Objective, identity: dict[str, list[str]]
) -> Path:
    """Write the last checkpoint and the pipeline: averaged weights where there is an average, adapters merged."""
    config, state, out = loop.config, loop.state, loop.out
    accelerator = state.accelerator
    save_checkpoint(state, out, config.keep)
    if accelerator.distributed_type == DistributedType.FSDP:
        _gather(state, pipeline)
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        return out / "pipeline"
    if state.average is not None:
        state.average.copy_to(loop.parameters)
    if config.lora.rank:
        merge_adapters(pipeline.transformer)
    if config.objective == "autoencoder":
        crops = loop.groups[0]
        set_latent_moments(pipeline.backbone, ChunkCrops(crops.store, crops.frames, crops.frames, config.data.size))
    result = predicting_pipeline(pipeline, objective)
    folder = save_pipeline(out, result, _card(loop, identity))
    accelerator.wait_for_everyone()
    return folder


def predicting_pipeline(pipeline: FlowFramesPipeline, objective: Objective) -> FlowFramesPipeline:
    """The pipeline of the class that predicts as `objective` trains, with the components and options of `pipeline`."""
    options = {
        name: value
        for name, value in pipeline.config.items()
        if not name.startswith("_") and name not in pipeline.components
    }
    return objective.pipeline_class(**pipeline.components, **options)


def _card(loop: Loop, identity: dict[str, list[str]]) -> Record:
    """What training.json says."""
    accelerator, progress = loop.state.accelerator, loop.state.progress
    return {
        "config": asdict(loop.config),
        "identity": identity,
        "samples": sum(len(group) for group in loop.groups),
        "hours": round(progress.seconds / 3600, 3),
        "progress": asdict(progress),
        "processes": accelerator.num_processes,
        "device": device_name(accelerator.device),
        "versions": versions(),
    }


def _gather(state: TrainingState, pipeline: FlowFramesPipeline) -> None:
    """Put a whole transformer in the place of one whose weights are spread over the processes (FSDP)."""
    weights = get_model_state_dict(state.module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if state.accelerator.is_main_process:
        transformer: Any = type(pipeline.transformer).from_config(pipeline.transformer.config)  # type: ignore[attr-defined]
        transformer.load_state_dict({name.removeprefix("transformer."): value for name, value in weights.items()})
        pipeline.register_modules(transformer=transformer)
