"""`worldmodel cache build`: the latent cache of a training run, made beforehand by one job or several."""

from dataclasses import dataclass
from pathlib import Path

from worldmodel.errors import InputError
from worldmodel.settings import Count, Natural
from worldmodel.training.config import TrainConfig


@dataclass(frozen=True)
class CacheBuildConfig(TrainConfig):
    """The cache that a training run with the same settings uses, built beforehand.

    Attributes:
        task: which share of the shards this job writes, from 0. tasks: how many jobs there are.
    """

    task: Natural = 0
    tasks: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task >= self.tasks:
            raise InputError(f"task={self.task} tasks={self.tasks}: use a task from 0 to {self.tasks - 1}")
        if self.objective == "autoencoder":
            raise InputError("objective=autoencoder: trains on frames, it has no latent cache")


def build_cache(config: CacheBuildConfig) -> list[Path]:
    """Write this job's shards of every length; shards that are there stay."""
    from worldmodel.launch import started_processes
    from worldmodel.models.open import chosen_device
    from worldmodel.training import data
    from worldmodel.training.start import open_model

    if started_processes() > 1:
        raise InputError("cache build: a launcher's processes would all do the same; start jobs with task=I tasks=N")
    encoder = open_model(config, chosen_device(config.device)).encoder
    folders = []
    for frames in config.data.frames:
        pairs = data.open_pairs(config.data, frames, data.store_folder(config), config.captioned)
        folder = data.write_cache(config, pairs, encoder, (config.task, config.tasks))
        print(f"{folder}: {len(pairs)} pairs of {frames} + {frames} frames, share {config.task + 1} of {config.tasks}")
        folders.append(folder)
    return folders
