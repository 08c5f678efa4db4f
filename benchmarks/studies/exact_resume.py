"""Kill training runs at random moments, resume them, and compare with undisturbed ones bit for bit.

python -m worldmodel.benchmarks.studies.exact_resume --kills 20 --keep
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.measure import machine
from worldmodel.measure.report import table_of
from worldmodel.training import AutoencoderConfig, DataConfig, OptimizerConfig, TinyModelConfig, TrainConfig, train
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
    context.set_forkserver_preload(["worldmodel.benchmarks.studies.exact_resume", "worldmodel.training.trainer"])
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
    draw, found, out = random.Random(seed), Killed(), Path(config.out)
    for number in range(kills):
        with started(_resuming(config), processes) as each:
            _wait(each, out, writing=number % 2 == 1)
            time.sleep(draw.random() * (0.02 if number % 2 else 0.3))
            found.kills += any(process.is_alive() for process in each)
        found.while_writing += bool([*(out / "checkpoints").glob(".partial-*")])
        found.unreadable += sum(not _readable(folder) for folder in checkpoints_of(out))
    if not run_through(_resuming(config), processes):
        raise RuntimeError("the resumed run did not end well")
    return found


def _wait(each: Sequence[BaseProcess], out: Path, writing: bool) -> None:
    """Until there is a new checkpoint, or one in the making."""
    kind = ".partial-*" if writing else "step-*"
    before = {path.name for path in (out / "checkpoints").glob(kind)}
    while all(process.is_alive() for process in each):
        if {path.name for path in (out / "checkpoints").glob(kind)} - before:
            return
        time.sleep(0.0005)


def differences(one: Path, other: Path) -> list[str]:
    """What differs between the last checkpoints and the logs of two runs; clocks aside."""
    first, second = (checkpoints_of(out)[-1] for out in (one, other))
    found = [name for name in TENSORS if (first / name).read_bytes() != (second / name).read_bytes()]
    if _said(first) != _said(second):
        found.append("state.json")
    if _losses(one) != _losses(other):
        found.append("log.jsonl")
    return found


def _said(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "state.json").read_text())
    said["progress"].pop("seconds")
    return said


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


def small_run(folder: Path) -> TrainConfig:
    """A run of some seconds on a drive of one second, with a VAE that was hardly trained."""
    make_toyworld(folder / "toy", ToyWorldConfig(1, 1, seconds=1.0, size=(96, 64), workers=1), False)
    data = DataConfig(
        str(folder / "toy"), "v1.0-toy", size=(64, 96), frames=(5,), stride=1, decode_once=True,
        store=str(folder / "store"), workers=0,
    )  # fmt: skip
    sizes = TinyModelConfig(vae_channels=8, latent_channels=8, layers=1, heads=2, head_dim=16, caption_channels=8)
    first = TrainConfig(
        data, "autoencoder", str(folder / "vae"), model=sizes, autoencoder=AutoencoderConfig(crop=(64, 64)),
        optimizer=OptimizerConfig(lr=2e-3, warmup=2, ema=0.5), steps=4, batch_size=2, inversion_steps=2, log_every=1,
        save_every=1, trackers=(), device="cpu",
    )  # fmt: skip
    train(first)
    return replace(first, objective="flowframes", pretrained=str(folder / "vae/pipeline"), out="", steps=40)


def main() -> None:
    """Kill, compare, print, and with --keep write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="write the result to benchmarks/results")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        base = small_run(Path(name))
        for cached in (True, False):
            for processes in (1, 2):
                run = replace(
                    base, data=replace(base.data, latent_cache=cached), accumulate=2, batch_size=4 // processes
                )
                whole, broken = (replace(run, out=f"{name}/{cached}{processes}{kind}") for kind in ("whole", "broken"))
                run_through(whole, processes)
                found = run_killed(broken, arguments.kills, seed=processes, processes=processes)
                differing = differences(Path(whole.out), Path(broken.out))
                rows.append(
                    {
                        "latents": "cached" if cached else "straight from frames",
                        "processes": processes,
                        "kills": found.kills,
                        "while writing a checkpoint": found.while_writing,
                        "unreadable checkpoints": found.unreadable,
                        "differs from undisturbed": ", ".join(differing) or "nothing",
                    }
                )
                shutil.rmtree(broken.out)
    result = {"runs": rows, "machine": machine.describe(("torch", "accelerate", "diffusers"))}
    publish("exact_resume", table_of(rows), result, arguments.keep)


if __name__ == "__main__":
    main()
