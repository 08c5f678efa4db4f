"""The processes that a launcher (torchrun, accelerate) started together."""

import os

import torch


def started_processes() -> int:
    """How many processes a launcher says that it has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_on_cpu() -> bool:
    """Whether several were launched on a machine without a GPU.

    Told nothing, accelerate takes these for strangers, each of which does all of the work: its `cpu` is to be this.
    """
    return started_processes() > 1 and not torch.cuda.is_available()
