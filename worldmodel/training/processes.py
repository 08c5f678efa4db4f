"""The processes that train together, as accelerate sees them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from worldmodel.errors import InputError
from worldmodel.launch import launched_on_cpu, started_processes
from worldmodel.training.config import TrainConfig

LONGEST_WAIT = timedelta(hours=24)  # of processes for the first one, which scans the videos


def join_processes(config: TrainConfig) -> Accelerator:
    """Join the processes that a launcher has started; alone where there is none.

    Raises:
        InputError: processes that would train side by side, or what does not go with FSDP.
    """
    # accelerate keeps the precision of the first run of a process for all later ones.
    AcceleratorState._reset_state()
    started = started_processes()
    accelerator = Accelerator(
        mixed_precision=config.precision,
        cpu=config.device == "cpu" or launched_on_cpu(),
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
        if config.optimizer.ema or config.lora.rank or config.validation.every:
            raise InputError(
                "optimizer.ema, lora.rank, validation.every do not go with FSDP: set them to 0, or use DDP"
            )
    return accelerator


def keep_float32(plugin: Any) -> None:
    """Weights of FSDP (version 2) may be bf16; the batch and the losses are to stay as the objective has them."""
    if plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, cast_forward_inputs=False, output_dtype=None
        )
