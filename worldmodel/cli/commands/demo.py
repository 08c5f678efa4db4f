"""The demo: a small toy drive with six cameras, and what the shipped model makes of a scene it was not trained on.

Needs nothing from outside. Everything lands below the folder it is started in: the toy drive in `data/toyworld-demo`
(made once, then reused) and the results in `outputs/demo`.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.cli.commands.predict import PredictConfig, predict
from worldmodel.datasets.nuscenes import open_index, scenes_of_split
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.errors import InputError
from worldmodel.settings import Count, Device, Natural, Positive, Seed, Settings, Size, Text


@dataclass(frozen=True)
class DemoConfig(Settings):
    """What the demo shows.

    Attributes:
        out: folder for the results; those of an earlier demo are replaced.
        data: folder of the toy drive; made if it is not there.
        scene: a validation scene of it; the first by default.
        chunks: how many chunks are predicted, each from the one before.
        steps: network evaluations per chunk.
        frames: frames of a chunk; by default as the model was trained.
        size: height and width that the model sees; by default as it was trained.
        checkpoint: a shipped one by name, or the folder of a saved pipeline.
        device: auto, cpu, cuda or cuda:N.
        seed, train_scenes, val_scenes, seconds: of the toy drive; 5 s hold three chunks of 17 frames. Where a frame is
            missing on the way, as in some scenes of some seeds, less of the prediction has a truth.
        overwrite: make the toy drive anew where `data` holds another one.
    """

    out: Text = "outputs/demo"
    data: Text = "data/toyworld-demo"
    scene: Text | None = None
    chunks: Count = 2
    steps: Count = 5
    frames: Count | None = None
    size: Size | None = None
    checkpoint: Text = "tiny"
    device: Device = "auto"
    seed: Seed = 0
    train_scenes: Natural = 1
    val_scenes: Count = 2
    seconds: Positive = 5.0
    overwrite: bool = False


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Make or reuse the toy drive, predict six cameras of a validation scene, print the table; the last line is JSON.

    The table sets the prediction between repeating the last frame and the truth sent through the VAE and back.

    Returns:
        What `prediction.json` holds, see `worldmodel.cli.commands.predict.predict`.

    Raises:
        InputError: another dataset in `data`, an unknown scene, or whatever `predict` refuses.
    """
    root, toyworld = Path(config.data), toyworld_of(config)
    begun, there = time.perf_counter(), root.exists()
    make_toyworld(root, toyworld, overwrite=config.overwrite)
    index = open_index(root, toyworld.version)
    print(
        f"{root}: {'reused' if there and not config.overwrite else 'made'} and indexed in"
        f" {time.perf_counter() - begun:.1f} s, {index.rows('scene')} scenes, {index.rows('sample_data')} pictures",
        flush=True,
    )
    return predict(
        PredictConfig(
            source=str(root),
            out=config.out,
            version=toyworld.version,
            scene=validation_scene(config, root, toyworld.version),
            frames=config.frames,
            chunks=config.chunks,
            steps=config.steps,
            checkpoint=config.checkpoint,
            size=config.size,
            device=config.device,
            ceiling=True,
            overwrite=True,
        )
    )


def toyworld_of(config: DemoConfig) -> ToyWorldConfig:
    """The recipe of the demo's drive."""
    return ToyWorldConfig(
        train_scenes=config.train_scenes, val_scenes=config.val_scenes, seconds=config.seconds, seed=config.seed
    )


def validation_scene(config: DemoConfig, root: Path, version: str) -> str:
    """The scene asked for, or the first of the validation split; `InputError` for a scene outside that split."""
    held_out = scenes_of_split(root, version, "val")
    if not held_out:
        raise InputError(f"val_scenes={config.val_scenes}: the demo needs at least one validation scene")
    if config.scene is not None and config.scene not in held_out:
        raise InputError(f"scene={config.scene}: not a validation scene of {root}; choose one of {', '.join(held_out)}")
    return config.scene or held_out[0]
