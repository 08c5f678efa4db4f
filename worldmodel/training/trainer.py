"""From a `TrainConfig` to a trained pipeline."""

import copy
import os
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs, set_seed
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.checkpoints import shipped_names
from worldmodel.conventions import conventions_of
from worldmodel.errors import InputError
from worldmodel.measure.machine import device_name, versions
from worldmodel.models.checkpoint import is_ours, place_of
from worldmodel.models.open import open_pipeline, open_text_encoder
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training import checkpoints, data, run_folder
from worldmodel.training.adapters import add_adapters, merge_adapters
from worldmodel.training.attention import fastest_attention
from worldmodel.training.captions import CaptionEncoder
from worldmodel.training.checkpoints import TrainingState
from worldmodel.training.chunks import ChunkCrops
from worldmodel.training.config import TinyModelConfig, TrainConfig
from worldmodel.training.estimate import check_compiler, estimate, slow_paths
from worldmodel.training.latent_stats import set_latent_moments
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.log import check_trackers
from worldmodel.training.loop import Loop, run
from worldmodel.training.objectives import Objective, objective_of
from worldmodel.training.optimizer import adamw
from worldmodel.training.order import Order
from worldmodel.training.validation import Validation, validate

LONGEST_WAIT = timedelta(hours=24)  # of processes for the first one, which scans the videos


def train(config: TrainConfig) -> Path:
    """Run `config` to its end and return the folder of the trained pipeline.

    Loss and figures go to `log.jsonl` in the run's folder, checkpoints to `checkpoints`, pictures to `samples`, the
    result to `pipeline`.

    Raises:
        InputError: data, folders or settings that cannot be used.
        Stopped: a signal came; a checkpoint was written.
    """
    config = config.settled
    run_folder.refuse_existing(config)
    check_trackers(config)
    accelerator = _accelerator(config)
    if accelerator.distributed_type == DistributedType.FSDP and (
        config.optimizer.ema or config.lora.rank or config.validation.every
    ):
        raise InputError("optimizer.ema, lora.rank, validation.every do not go with FSDP: set them to 0, or use DDP")
    set_seed(config.seed)
    pipeline = starting_pipeline(config)
    _check_guidance(config, pipeline)
    pipeline.to(accelerator.device)
    captions = CaptionEncoder(pipeline, accelerator.device) if config.captioned else None
    encoder = LatentEncoder(
        _frozen(config, pipeline), config.inversion_steps * config.inverts, config.precision, captions
    )
    pretrained = [] if config.pretrained is None else encoder.hash_once()  # else drawn anew from the seed
    held_out = data.validation_pairs(config) if config.validation.every else None
    groups = data.samples(config, encoder, accelerator)
    order = Order(
        [len(group) for group in groups], config.batch_size * config.accumulate * accelerator.num_processes, config.seed
    )
    identity = {"samples": [group.identity for group in groups]}
    if pretrained:
        identity["pretrained weights"] = pretrained
    objective = _objective(config, pipeline)
    _say(config, accelerator, pipeline)
    out = _folder(config, accelerator)
    state = _state(config, accelerator, objective, order, identity)
    frames_are_read = not config.data.latent_cache and config.objective != "autoencoder"
    loop = Loop(config, state, order, groups, out, encoder if frames_are_read else None)
    if held_out is not None:
        loop.validate = lambda: _validated(config, pipeline, objective, held_out, captions)
    _resume(config, state, out)
    with fastest_attention(accelerator.device):
        run(loop)
    return _finish(loop, pipeline, objective, identity)


def _accelerator(config: TrainConfig) -> Accelerator:
    # accelerate keeps the precision of the first run of a process for all later ones.
    AcceleratorState._reset_state()
    started = started_processes()
    # Told nothing, accelerate takes processes that were launched on a machine without a GPU for strangers.
    on_cpu = config.device == "cpu" or (started > 1 and not torch.cuda.is_available())
    accelerator = Accelerator(
        mixed_precision=config.precision,
        cpu=on_cpu,
        step_scheduler_with_optimizer=False,
        log_with=list(config.trackers) or None,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        project_dir=str(Path(config.out) / "trackers"),
    )
    if accelerator.num_processes != started:
        raise InputError(
            f"{started} processes were started and {accelerator.num_processes} would train together: start them with "
            "accelerate launch and a file of worldmodel/cli/presets/topology, or start one"
        )
    if accelerator.distributed_type == DistributedType.FSDP:
        keep_float32(accelerator.state.fsdp_plugin)
    return accelerator


def started_processes() -> int:
    """How many processes a launcher (torchrun, accelerate) says that it has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def keep_float32(plugin: Any) -> None:
    """Weights of FSDP (version 2) may be bf16; the batch and the losses are to stay as the objective has them."""
    if plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, cast_forward_inputs=False, output_dtype=None
        )


def starting_pipeline(config: TrainConfig) -> FlowFramesPipeline:
    """The model that a run starts from, in float32."""
    if config.pretrained is None:
        if config.objective != "autoencoder":
            raise InputError(f"objective={config.objective} needs a trained VAE: give pretrained=FOLDER")
        return _new_tiny(config.model, config.autoencoder.log_variance)
    try:
        pipeline = open_pipeline(
            config.pretrained, config.transformer, config.conventions, dtype=torch.float32, device="cpu", text=False
        )
        if config.captioned and not is_ours(place_of(config.pretrained)):
            encoder, tokenizer = open_text_encoder(config.pretrained, pipeline.family)
            pipeline.register_modules(text_encoder=encoder, tokenizer=tokenizer)
        if config.captioned and pipeline.text_encoder is not None:
            pipeline.cache_empty_prompt()
        return pipeline
    except InputError as error:
        known = ", ".join(shipped_names())
        raise InputError(f"pretrained={config.pretrained}: {error} (or one that is shipped: {known})") from error


def _check_guidance(config: TrainConfig, pipeline: FlowFramesPipeline) -> None:
    """Refuse validation that would end the run when it comes: guided by texts that nobody can read."""
    guided = config.captioned and pipeline.backbone.default_guidance != 1
    if config.validation.every and guided and not pipeline.text_encoder and not pipeline.negative_prompt_cache:
        raise InputError(
            f"validation.every={config.validation.every}: conventions={config.conventions} predicts with guidance, and "
            "pretrained has no text encoder; give one that has, or validation.every=0"
        )


def _new_tiny(sizes: TinyModelConfig, log_variance: float) -> FlowFramesPipeline:
    vae = tiny_vae(sizes.vae_channels, sizes.latent_channels, sizes.spatial, sizes.temporal)
    with torch.no_grad():
        vae.encoder.conv_out.conv.bias[-1] = log_variance
    transformer = tiny_transformer(
        sizes.latent_channels, sizes.layers, sizes.heads, sizes.head_dim, sizes.caption_channels
    )
    return FlowFramesPipeline.from_backbone(tiny_backbone(vae, transformer))


def _frozen(config: TrainConfig, pipeline: FlowFramesPipeline) -> Any:
    """The pretrained model as it is before training; a copy where frames are inverted while training."""
    pipeline.vae.requires_grad_(False).eval()
    pipeline.transformer.requires_grad_(False).eval()
    frozen = pipeline.backbone
    frozen.conventions = conventions_of(config.conventions)
    if config.inverts and not config.data.latent_cache:
        frozen.transformer = copy.deepcopy(pipeline.transformer)
    return frozen


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
    objective: Objective = objective_of(config, pipeline.backbone)
    objective.trained.train()
    if not config.lora.rank:
        objective.trained.requires_grad_(True)
    return objective


def _say(config: TrainConfig, accelerator: Accelerator, pipeline: FlowFramesPipeline) -> None:
    """The size of the run and its slow paths, before it starts."""
    if not accelerator.is_main_process:
        return
    if config.objective != "autoencoder":
        geometry, processes = pipeline.backbone.geometry, accelerator.num_processes
        print(f"run: {estimate(config, geometry, pipeline.transformer, processes, accelerator.device)}")
    for line in slow_paths(config, accelerator.device):
        print(f"slow: {line}")


def _folder(config: TrainConfig, accelerator: Accelerator) -> Path:
    if accelerator.is_main_process:
        run_folder.prepare(config)
    accelerator.wait_for_everyone()
    return Path(config.out)


def _state(
    config: TrainConfig, accelerator: Accelerator, objective: Objective, order: Order, identity: dict[str, list[str]]
) -> TrainingState:
    settings = config.optimizer
    trained = [one for one in objective.parameters() if one.requires_grad]
    optimizer: torch.optim.Optimizer = adamw(config, trained)
    schedule = get_scheduler(
        settings.schedule, optimizer, num_warmup_steps=settings.warmup, num_training_steps=config.steps
    )
    module, optimizer = accelerator.prepare(objective, optimizer)
    average = EMAModel(trained, decay=settings.ema, use_ema_warmup=True) if settings.ema else None
    fingerprint = checkpoints.deciding_settings(config) | identity | {"samples a step": order.global_batch}
    return TrainingState(accelerator, module, optimizer, schedule, average, fingerprint)


def _validated(
    config: TrainConfig,
    pipeline: FlowFramesPipeline,
    objective: Objective,
    held_out: Any,
    captions: CaptionEncoder | None,
) -> Validation:
    objective.eval()
    predicting = objective.pipeline_class(**pipeline.components, **_kept_options(pipeline))
    predicting.set_progress_bar_config(disable=True)
    with torch.autocast(pipeline.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        found = validate(config, predicting, held_out, captions)
    if captions is not None and config.data.latent_cache:
        captions.rest()
    objective.trained.train()
    return found


def _kept_options(pipeline: FlowFramesPipeline) -> dict[str, Any]:
    """What the pipeline's constructor takes beside its components."""
    config = pipeline.config.items()
    return {name: value for name, value in config if not name.startswith("_") and name not in pipeline.components}


def _resume(config: TrainConfig, state: TrainingState, out: Path) -> None:
    if not config.resume:
        return
    sentences = [f"{out} has no checkpoint yet, starting at step 0"]
    if checkpoints.checkpoints_of(out):
        sentences = checkpoints.load_newest(state, out)
    if state.accelerator.is_main_process:
        for sentence in sentences:
            print(f"resume: {sentence}")


def _gather(state: TrainingState, pipeline: FlowFramesPipeline) -> None:
    """Put a whole transformer in the place of one whose weights are spread over the processes (FSDP)."""
    whole = get_model_state_dict(state.module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if state.accelerator.is_main_process:
        transformer: Any = type(pipeline.transformer).from_config(pipeline.transformer.config)  # type: ignore[attr-defined]
        transformer.load_state_dict({name.removeprefix("transformer."): one for name, one in whole.items()})
        pipeline.register_modules(transformer=transformer)


def _finish(loop: Loop, pipeline: FlowFramesPipeline, objective: Objective, identity: dict[str, list[str]]) -> Path:
    """Write the result: averaged weights where there is an average, adapters merged."""
    config, state, out = loop.config, loop.state, loop.out
    accelerator = state.accelerator
    checkpoints.save(state, out, config.keep)
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
    training = {
        "config": asdict(config),
        "identity": identity,
        "samples": sum(len(group) for group in loop.groups),
        "hours": round(state.progress.seconds / 3600, 3),
        "progress": asdict(state.progress),
        "processes": accelerator.num_processes,
        "device": device_name(accelerator.device),
        "versions": versions(),
    }
    result = objective.pipeline_class(**pipeline.components, **_kept_options(pipeline))
    folder = run_folder.save_pipeline(out, result, training)
    accelerator.wait_for_everyone()
    return folder
