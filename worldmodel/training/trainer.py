"""From a `TrainConfig` to a trained pipeline, in four stages: open the model, its data, its state, and loop.

Each stage hands the next one noun: `StartingModel` (`start`), `RunData` (`data`), `TrainingState` (`checkpoints`) and
`Loop` (`loop`). Nothing is written to the run's folder before the data and the objective are known to be usable.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.adapters import add_adapters
from worldmodel.training.attention import fastest_attention
from worldmodel.training.checkpoints import TrainingState, checkpoints_of, deciding_settings, load_newest
from worldmodel.training.config import TrainConfig
from worldmodel.training.data import RunData, open_data
from worldmodel.training.estimate import check_compiler, estimate, slow_paths
from worldmodel.training.log import check_trackers
from worldmodel.training.loop import Loop, run
from worldmodel.training.objectives import Objective, objective_of
from worldmodel.training.optimizer import adamw
from worldmodel.training.processes import join_processes
from worldmodel.training.result import predicting_pipeline, write_result
from worldmodel.training.run_folder import prepare, refuse_existing
from worldmodel.training.start import StartingModel, check_guidance, open_model
from worldmodel.training.validation import Validation, validate


def train(config: TrainConfig) -> Path:
    """Run `config` to its end and return the folder of the trained pipeline.

    Loss and figures go to `log.jsonl` in the run's folder, checkpoints to `checkpoints`, pictures to `samples`, the
    result to `pipeline`.

    Raises:
        InputError: data, folders or settings that cannot be used.
        Stopped: a signal came; a checkpoint was written.
    """
    config = config.settled
    refuse_existing(config)
    check_trackers(config.trackers)
    accelerator = join_processes(config)
    set_seed(config.seed)  # of new weights; the loop seeds each step anew

    model = open_model(config, accelerator.device)
    check_guidance(config, model.pipeline)
    data = open_data(config, model.encoder, accelerator)
    objective = _objective(config, model.pipeline)
    _announce(config, accelerator, model.pipeline)
    out = _folder(config, accelerator)
    state = _state(config, accelerator, objective, data)
    loop = _loop(config, model, data, objective, state)
    _resume(config, state, out)
    with fastest_attention(accelerator.device):
        run(loop)
    return write_result(loop, model.pipeline, objective, data.identity)


def _objective(config: TrainConfig, pipeline: FlowFramesPipeline) -> Objective:
    """With what is trained requiring gradients, and nothing else."""
    if config.from_scratch:
        set_seed(config.seed)
        new: Any = type(pipeline.transformer).from_config(pipeline.transformer.config)  # type: ignore[attr-defined]
        pipeline.register_modules(transformer=new.to(pipeline.device).requires_grad_(False))
    transformer: Any = pipeline.transformer
    if config.lora.rank:
        add_adapters(transformer, config.lora)
    if config.checkpoint_gradients:
        transformer.enable_gradient_checkpointing()
    if config.compile:
        check_compiler()
        transformer.compile_repeated_blocks()
    objective = objective_of(config, pipeline.backbone)
    objective.trained.train()
    if not config.lora.rank:
        objective.trained.requires_grad_(True)
    return objective


def _announce(config: TrainConfig, accelerator: Accelerator, pipeline: FlowFramesPipeline) -> None:
    """Print the size of the run and its slow paths, before it starts."""
    if not accelerator.is_main_process:
        return
    if config.objective != "autoencoder":
        geometry, processes = pipeline.backbone.geometry, accelerator.num_processes
        print(f"run: {estimate(config, geometry, pipeline.transformer, processes, accelerator.device)}")
    for line in slow_paths(config, accelerator.device):
        print(f"slow: {line}")


def _folder(config: TrainConfig, accelerator: Accelerator) -> Path:
    if accelerator.is_main_process:
        prepare(config)
    accelerator.wait_for_everyone()
    return Path(config.out)


def _state(config: TrainConfig, accelerator: Accelerator, objective: Objective, data: RunData) -> TrainingState:
    """All that changes while training, on its device, and the settings that a resumed run must share."""
    settings = config.optimizer
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = adamw(settings, trained)
    schedule = get_scheduler(
        settings.schedule, optimizer, num_warmup_steps=settings.warmup, num_training_steps=config.steps
    )
    module, optimizer = accelerator.prepare(objective, optimizer)
    average = EMAModel(trained, decay=settings.ema, use_ema_warmup=True) if settings.ema else None
    fingerprint = deciding_settings(config) | data.identity | {"samples a step": data.order.global_batch}
    return TrainingState(accelerator, module, optimizer, schedule, average, fingerprint)


def _loop(config: TrainConfig, model: StartingModel, data: RunData, objective: Objective, state: TrainingState) -> Loop:
    """What the loop needs: an encoder where every step reads frames, validation where there are held-out pairs."""
    frames_are_read = not config.data.latent_cache and config.objective != "autoencoder"
    encoder = model.encoder if frames_are_read else None
    loop = Loop(config, state, data.order, data.groups, Path(config.out), encoder)
    if data.held_out is not None:
        loop.validate = lambda: _validation(config, model, objective, data)
    return loop


def _validation(config: TrainConfig, model: StartingModel, objective: Objective, data: RunData) -> Validation:
    """Held-out pairs predicted with the weights of now, as the pipeline of the result will predict."""
    assert data.held_out is not None
    objective.eval()
    pipeline = predicting_pipeline(model.pipeline, objective)
    pipeline.set_progress_bar_config(disable=True)
    with torch.autocast(pipeline.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        validation = validate(config.validation, pipeline, data.held_out, model.captions)
    if model.captions is not None and config.data.latent_cache:
        model.captions.rest()
    objective.trained.train()
    return validation


def _resume(config: TrainConfig, state: TrainingState, out: Path) -> None:
    if not config.resume:
        return
    sentences = [f"{out} has no checkpoint yet, starting at step 0"]
    if checkpoints_of(out):
        sentences = load_newest(state, out)
    if state.accelerator.is_main_process:
        for sentence in sentences:
            print(f"resume: {sentence}")
