"""Training runs in processes of their own, killed at random moments and resumed; used by tests and by a study."""

import json
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from worldmodel.training import TrainConfig, train
from worldmodel.training.checkpoints import checkpoints_of

TENSORS = ("weights.safetensors", "average.safetensors", "optimizer.safetensors")


@dataclass
class Killed:
    """What happened to a run on its way; `while_writing` counts kills that left a half-written checkpoint."""

    kills: int = 0
    while_writing: int = 0
    unreadable: int = 0


def train_as(config: TrainConfig, rank: int, processes: int, port: int) -> None:
    """`train` as process `rank` of `processes`, which talk over gloo."""
    if processes > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    train(config)


@contextmanager
def started(config: TrainConfig, processes: int = 1) -> Iterator[Sequence[BaseProcess]]:
    """A run in processes of its own, which are gone at the end of the block.

    They are forked from a server that has everything imported and has never computed anything.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "worldmodel.training.trainer"])
    port = _free_port()
    each = [context.Process(target=train_as, args=(config, rank, processes, port)) for rank in range(processes)]
    for process in each:
        process.start()
    try:
        yield each
    finally:
        for process in each:
            process.kill()
            process.join()


def run_through(config: TrainConfig, processes: int = 1) -> bool:
    """Run to the end; whether it ended well."""
    with started(config, processes) as each:
        for process in each:
            process.join()
    return all(process.exitcode == 0 for process in each)


def run_killed(config: TrainConfig, kills: int, seed: int, processes: int = 1) -> Killed:
    """Kill the run `kills` times and resume it; then let it run to the end.

    Every other kill comes while a checkpoint is being written, the others at random moments after a checkpoint.
    """
    draw, killed, out = random.Random(seed), Killed(), Path(config.out)
    for number in range(kills):
        with started(_resuming(config), processes) as each:
            _wait(each, out, writing=number % 2 == 1)
            time.sleep(draw.random() * (0.02 if number % 2 else 0.3))
            killed.kills += any(process.is_alive() for process in each)
        killed.while_writing += bool([*(out / "checkpoints").glob(".partial-*")])
        killed.unreadable += sum(not _readable(folder) for folder in checkpoints_of(out))
    if not run_through(_resuming(config), processes):
        raise RuntimeError("the resumed run did not end well")
    return killed


def _wait(processes: Sequence[BaseProcess], out: Path, writing: bool) -> None:
    """Until there is a new checkpoint, or one in the making."""
    kind = ".partial-*" if writing else "step-*"
    before = {path.name for path in (out / "checkpoints").glob(kind)}
    while all(process.is_alive() for process in processes):
        if {path.name for path in (out / "checkpoints").glob(kind)} - before:
            return
        time.sleep(0.0005)


def differences(first: Path, second: Path) -> list[str]:
    """What differs between the last checkpoints and the logs of two runs; clocks aside."""
    a, b = (checkpoints_of(out)[-1] for out in (first, second))
    names = [name for name in TENSORS if (a / name).read_bytes() != (b / name).read_bytes()]
    names += ["state.json"] * (_state(a) != _state(b))
    return names + ["log.jsonl"] * (_losses(first) != _losses(second))


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    state["progress"].pop("seconds")
    return state


def _losses(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def _readable(folder: Path) -> bool:
    try:
        json.loads((folder / "state.json").read_text())
        return all(load_file(folder / name) for name in TENSORS)
    except Exception:  # whatever a reader may meet counts
        return False


def _resuming(config: TrainConfig) -> TrainConfig:
    return replace(config, resume=(Path(config.out) / "config.json").exists())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
