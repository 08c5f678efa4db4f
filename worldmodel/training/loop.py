"""The one training loop: every objective, any number of processes, and an end that loses nothing."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from worldmodel.datasets.reading import loader, raised, reader_died
from worldmodel.errors import RunFailed, Stopped
from worldmodel.training import checkpoints
from worldmodel.training.checkpoints import TrainingState
from worldmodel.training.chunks import Pool, collate
from worldmodel.training.config import TrainConfig
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.log import RunLog
from worldmodel.training.order import Order, ShareOfOrder
from worldmodel.training.stopping import SIGNALS, StopSignals
from worldmodel.training.validation import Validation

logger = logging.getLogger(__name__)
MOST_SKIPPED = 10  # steps in a row without a finite gradient
ON_CPU = ("seed", "frame_rate", "replaced")


@dataclass
class Loop:
    """What a run needs beside its state.

    Attributes:
        encoder: makes latents of frames; None where batches hold latents already.
        validate: predicts held-out pairs with the present weights; None for no validation.
    """

    config: TrainConfig
    state: TrainingState
    order: Order
    groups: list[Any]
    out: Path
    encoder: LatentEncoder | None = None
    validate: Callable[[], Validation] | None = None

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Those that are trained."""
        return [one for one in self.state.module.parameters() if one.requires_grad]


def run(loop: Loop) -> None:
    """Train from the state's step to the last.

    Raises:
        Stopped: a signal came; a checkpoint was written.
        InputError: gradients stay infinite, or a reader died; a checkpoint of the last good step was written.
    """
    state, config = loop.state, loop.config
    accelerator, progress = state.accelerator, state.progress
    began = time.perf_counter() - progress.seconds
    bar = tqdm(
        total=config.steps, initial=progress.step, desc=config.objective, disable=not accelerator.is_main_process
    )
    skipped_in_row = 0
    with (
        StopSignals() as stop,
        bar,
        RunLog(config, accelerator, loop.out, progress.step) as log,
        _reading(loop) as batches,
    ):
        while progress.step < config.steps:
            with _reader_errors(loop):
                read = [next(batches) for _ in range(config.accumulate)]
            step_batches = [*map(raised, read)]
            lr = state.schedule.get_last_lr()[0]
            figures = _update(loop, step_batches)
            progress.step += 1
            progress.seconds = time.perf_counter() - began
            skipped_in_row = 0 if math.isfinite(figures["grad_norm"]) else skipped_in_row + 1
            bar.update()
            if progress.step % config.log_every == 0 or progress.step == config.steps:
                _log(loop, log, bar, lr, figures)
            if loop.validate is not None and progress.step % config.validation.every == 0:
                _validation(loop, log)
            if progress.step % config.save_every == 0 and progress.step < config.steps:
                checkpoints.save(state, loop.out, config.keep)
            if skipped_in_row == MOST_SKIPPED:
                raise RunFailed(_end(loop, f"no finite gradient in {MOST_SKIPPED} steps in a row, lower optimizer.lr"))
            if _told_to_stop(loop, stop):
                raise Stopped(_end(loop, f"stopped by {stop.received or 'another process'}"))


@contextmanager
def _reading(loop: Loop) -> Iterator[Iterator[dict[str, Any]]]:
    """This process' batches from the state's step on; their readers end with the block."""
    # torch would report a dead reader at any moment, in the middle of an update too; without its handler, which any
    # loader leaves behind, it is seen when the next batch is asked for, and the state is whole.
    in_main, before = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGCHLD)
    batches: Any = iter(_loader(loop))
    if in_main:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield batches
    finally:
        if hasattr(batches, "_shutdown_workers"):  # not where this process reads
            batches._shutdown_workers()
        if in_main:
            signal.signal(signal.SIGCHLD, before)


def _loader(loop: Loop) -> DataLoader:
    config, accelerator = loop.config, loop.state.accelerator
    share = ShareOfOrder(
        loop.order, loop.state.progress.step, config.steps, config.accumulate,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    in_memory = loop.encoder is None
    # On a CPU a reader of what is mapped already would only take a core from the network.
    workers = 0 if in_memory and accelerator.device.type == "cpu" else config.data.workers
    return loader(
        Pool(loop.groups),
        collate,
        workers,
        batch_sampler=share,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=_ignore_stopping,
    )


def _ignore_stopping(_: int) -> None:
    """A launcher tells the readers to stop too; they go on until the training process, told as well, closes them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _update(loop: Loop, batches: list[dict[str, Any]]) -> dict[str, float]:
    """One optimiser step and its figures, means over `batches` and the norm of the gradient.

    Where the gradient is not finite on any process, no step is taken and it is counted.
    """
    state, config = loop.state, loop.config
    accelerator, progress = state.accelerator, state.progress
    torch.manual_seed(config.seed + 1_000_003 * progress.step + accelerator.process_index)
    found: list[dict[str, torch.Tensor]] = []
    for number, batch in enumerate(batches, 1):
        apart = nullcontext() if number == len(batches) else accelerator.no_sync(state.module)
        with apart:
            losses = state.module(_ready(loop, batch))
            accelerator.backward(losses["loss"] / len(batches))
        found.append({name: value.detach().float() for name, value in losses.items()})
        progress.replaced_samples += sum(batch.get("replaced", ()))
    norm = float(accelerator.clip_grad_norm_(loop.parameters, config.optimizer.clip))
    if math.isfinite(norm):
        state.optimizer.step()
        if state.average is not None:
            state.average.step(loop.parameters)
    else:
        progress.skipped_steps += 1
        logger.warning("step %d: the gradient is not finite, no update", progress.step + 1)
    state.schedule.step()
    state.optimizer.zero_grad()
    return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]} | {"grad_norm": norm}


def _ready(loop: Loop, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch on the device, frames turned into latents."""
    device = loop.state.accelerator.device
    moved = {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    if loop.encoder is None:
        return moved
    return {**moved, **loop.encoder(moved.pop("frames"), batch["frame_rate"], batch.get("caption", ()))}


@contextmanager
def _reader_errors(loop: Loop) -> Iterator[None]:
    """A reader process that died ends the run in one line, with a checkpoint."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not reader_died(error):
            raise
        first = " ".join(str(error).split()) or type(error).__name__
        why = f"a reader process died ({first}); with less memory use data.workers=0"
        if loop.state.accelerator.num_processes > 1:  # the others cannot be asked to help writing now
            raise RunFailed(f"{why}; resume=true goes on from the last checkpoint") from error
        raise RunFailed(_end(loop, why)) from error


def _end(loop: Loop, why: str) -> str:
    """Write a checkpoint; the sentence that says so."""
    place = checkpoints.save(loop.state, loop.out, loop.config.keep)
    return f"{why}: {place} was written, resume=true goes on from there"


def _told_to_stop(loop: Loop, stop: StopSignals) -> bool:
    """Whether any process was."""
    accelerator = loop.state.accelerator
    if accelerator.num_processes == 1:
        return stop.received is not None
    if stop.received is not None:
        accelerator.set_trigger()
    return bool(accelerator.check_trigger())


def _log(loop: Loop, log: RunLog, bar: tqdm, lr: float, figures: dict[str, float]) -> None:
    state = loop.state
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device="cpu")
    if state.accelerator.num_processes > 1:
        values = state.accelerator.reduce(values.float().to(state.accelerator.device), "mean").cpu()
    figures = dict(zip(figures, values.tolist(), strict=True))
    bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()})
    progress = state.progress
    place = {"lr": lr, "seconds": round(progress.seconds, 3)}
    counts = {"skipped_steps": progress.skipped_steps, "replaced_samples": progress.replaced_samples}
    log.write(progress.step, place | figures | {name: count for name, count in counts.items() if count})


@contextmanager
def averaged(loop: Loop) -> Iterator[None]:
    """The averaged weights in place of the present ones, where there is an average."""
    average = loop.state.average
    if average is None:
        yield
        return
    average.store(loop.parameters)
    average.copy_to(loop.parameters)
    try:
        yield
    finally:
        average.restore(loop.parameters)


def _validation(loop: Loop, log: RunLog) -> None:
    """By the first process; the others wait."""
    assert loop.validate is not None
    state = loop.state
    if state.accelerator.is_main_process:
        with averaged(loop):
            found = loop.validate()
        log.write(state.progress.step, found.figures)
        log.picture(state.progress.step, "validation", found.picture)
    state.accelerator.wait_for_everyone()
