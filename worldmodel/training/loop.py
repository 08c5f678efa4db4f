"""The one training loop: every objective, any number of processes, and an end that loses nothing.

A batch walks straight from disk to loss. `SampleOrder` says which samples make a step, and the seed of each. In a
reader process (`feeding`), `Pool` reads them and `collate` stacks them to a `Batch`. `_on_device` moves it and encodes
its frames, where no latent cache has done so. The objective, `state.module`, gives its loss; `_update` makes the step.

Resume is exact because nothing of this remembers: order and random numbers follow from the seed and the step's number
alone, and a checkpoint is written between two steps, never within one.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from worldmodel.datasets.pairs import Batch
from worldmodel.datasets.reading import dead_processes_named, raised
from worldmodel.errors import RunFailed, Stopped
from worldmodel.training.checkpoints import TrainingState, save_checkpoint
from worldmodel.training.config import TrainConfig
from worldmodel.training.feeding import feeding
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.log import RunLog
from worldmodel.training.order import SampleOrder, ShareOfOrder
from worldmodel.training.stopping import StopSignals
from worldmodel.training.validation import Validation

logger = logging.getLogger(__name__)
MOST_SKIPPED = 10  # steps in a row without a finite gradient


@dataclass
class Loop:
    """What a run needs beside its state.

    Attributes:
        groups: the datasets that `order` counts, one for each length of chunk.
        encoder: makes latents of frames; None where batches hold latents already, or a VAE is trained.
        validate: predicts held-out pairs with the present weights; None for no validation.
    """

    config: TrainConfig
    state: TrainingState
    order: SampleOrder
    groups: list[Any]
    out: Path
    encoder: LatentEncoder | None = None
    validate: Callable[[], Validation] | None = None

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Those that are trained."""
        return [parameter for parameter in self.state.module.parameters() if parameter.requires_grad]


def run(loop: Loop) -> None:
    """Train from the state's step to the last.

    Raises:
        Stopped: a signal came; a checkpoint was written.
        RunFailed: gradients stay infinite, or a reader died; a checkpoint of the last good step was written.
    """
    state, config = loop.state, loop.config
    progress = state.progress
    began = time.perf_counter() - progress.seconds
    skipped_in_row = 0
    with (
        StopSignals() as stop,
        _bar(loop) as bar,
        RunLog(config, state.accelerator, loop.out, progress.step) as log,
        _feeding(loop) as batches,
    ):
        while progress.step < config.steps:
            step_batches = _next_batches(loop, batches)
            lr = state.schedule.get_last_lr()[0]  # of this step; `_update` moves the schedule on
            figures = _update(loop, step_batches)
            progress.step += 1
            progress.seconds = time.perf_counter() - began
            skipped_in_row = 0 if math.isfinite(figures["grad_norm"]) else skipped_in_row + 1
            bar.update()
            # Log lines come before the checkpoint of their step: a resumed log is cut to its checkpoint, never short.
            if progress.step % config.log_every == 0 or progress.step == config.steps:
                _log(loop, log, bar, lr, figures)
            if loop.validate is not None and progress.step % config.validation.every == 0:
                _validation(loop, log)
            if progress.step % config.save_every == 0 and progress.step < config.steps:
                save_checkpoint(state, loop.out, config.keep)
            if skipped_in_row == MOST_SKIPPED:
                raise RunFailed(_end(loop, f"no finite gradient in {MOST_SKIPPED} steps in a row, lower optimizer.lr"))
            if _told_to_stop(loop, stop):
                raise Stopped(_end(loop, f"stopped by {stop.received or 'another process'}"))


def _bar(loop: Loop) -> tqdm:
    config, state = loop.config, loop.state
    hidden = not state.accelerator.is_main_process
    return tqdm(total=config.steps, initial=state.progress.step, desc=config.objective, disable=hidden)


def _next_batches(loop: Loop, batches: Iterator[Any]) -> list[Batch]:
    """The micro-batches of one step, all read before any is used: a reader that dies leaves the state whole."""
    with _reader_errors(loop):
        read = [next(batches) for _ in range(loop.config.accumulate)]
    return [*map(raised, read)]


def _feeding(loop: Loop) -> AbstractContextManager[Iterator[Any]]:
    """This process' batches from the state's step on."""
    config, accelerator = loop.config, loop.state.accelerator
    share = ShareOfOrder(
        loop.order, loop.state.progress.step, config.steps, config.accumulate,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    # On a CPU a reader of what is mapped already would only take a core from the network.
    in_memory = loop.encoder is None and accelerator.device.type == "cpu"
    return feeding(loop.groups, share, 0 if in_memory else config.data.workers, accelerator.device)


def _update(loop: Loop, batches: list[Batch]) -> dict[str, float]:
    """One optimiser step and its figures, means over `batches` and the norm of the gradient.

    Where the gradient is not finite on any process, no step is taken and it is counted.
    """
    state, config = loop.state, loop.config
    accelerator, progress = state.accelerator, state.progress
    # Samples have seeds of their own. Whatever else may draw, such as dropout of adapters, starts here from seed, step
    # and process: a resumed step draws what the undisturbed one drew, and what validation drew before does not matter.
    torch.manual_seed(config.seed + 1_000_003 * progress.step + accelerator.process_index)
    losses = _accumulate(loop, batches)
    # The norm is that of the whole step: of all micro-batches, and averaged over processes by the last backward pass.
    # So all processes see the same number, and all take the step or none does.
    norm = float(accelerator.clip_grad_norm_(loop.parameters, config.optimizer.clip))
    if math.isfinite(norm):
        state.optimizer.step()
        if state.average is not None:  # after the step, of the weights that it made
            state.average.step(loop.parameters)
    else:  # one such step would leave NaN in AdamW's averages for good
        progress.skipped_steps += 1
        logger.warning("step %d: the gradient is not finite, no update", progress.step + 1)
    state.schedule.step()  # after a skipped step too: the learning rate follows from the step's number
    state.optimizer.zero_grad()
    means = {name: float(torch.stack([part[name] for part in losses]).mean()) for name in losses[0]}
    return means | {"grad_norm": norm}


def _accumulate(loop: Loop, batches: list[Batch]) -> list[dict[str, torch.Tensor]]:
    """Add up the gradients of the micro-batches; their losses and figures.

    accelerate has put `config.precision`'s autocast around the module's forward pass alone. Weights, gradients and
    AdamW's averages are float32, and bf16 reaches as far as float32, so that no loss has to be scaled.
    """
    state, accelerator = loop.state, loop.state.accelerator
    losses = []
    for number, batch in enumerate(batches, 1):
        # Processes exchange gradients once a step, in the last backward pass, when the sum is complete.
        exchange = nullcontext() if number == len(batches) else accelerator.no_sync(state.module)
        with exchange:
            figures = state.module(_on_device(loop, batch))
            accelerator.backward(figures["loss"] / len(batches))  # micro-batches are of one size: the mean of means
        losses.append({name: value.detach().float() for name, value in figures.items()})
        state.progress.replaced_samples += batch.replaced
    return losses


def _on_device(loop: Loop, batch: Batch) -> Batch:
    """The batch on the device, frames turned into latents."""
    device = loop.state.accelerator.device
    moved = batch.each(lambda tensor: tensor.to(device, non_blocking=True))
    if loop.encoder is None:
        return moved
    assert moved.pixels is not None
    return replace(moved, pixels=None, latents=loop.encoder(moved.pixels, moved.frame_rates, moved.captions))


@contextmanager
def _reader_errors(loop: Loop) -> Iterator[None]:
    """A reader process that died ends the run in one line, with a checkpoint."""
    try:
        with dead_processes_named("data.workers=0"):
            yield
    except RunFailed as error:
        if loop.state.accelerator.num_processes > 1:  # the others cannot be asked to help writing now
            raise RunFailed(f"{error}; resume=true goes on from the last checkpoint") from error
        raise RunFailed(_end(loop, str(error))) from error


def _end(loop: Loop, why: str) -> str:
    """Write a checkpoint; the sentence that says so."""
    place = save_checkpoint(loop.state, loop.out, loop.config.keep)
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
            validation = loop.validate()
        log.write(state.progress.step, validation.figures)
        log.picture(state.progress.step, "validation", validation.picture)
    state.accelerator.wait_for_everyone()
