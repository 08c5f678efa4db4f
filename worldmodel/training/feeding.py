"""The batches of a run, read in processes of their own that outlive a signal and die without a sound."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from worldmodel.datasets.reading import iterating, loader
from worldmodel.training.chunks import Pool, collate
from worldmodel.training.order import ShareOfOrder
from worldmodel.training.stopping import SIGNALS


@contextmanager
def feeding(groups: list[Any], share: ShareOfOrder, workers: int, device: torch.device) -> Iterator[Iterator[Any]]:
    """A `Batch`, or the failure in its place (see `datasets.reading.raised`), for each of `share`.

    Args:
        groups: the datasets that the order counts.
        workers: processes that read, which end with the block; 0 is this process.
        device: where batches will go; for a GPU they lie in page-locked memory.
    """
    in_main, before = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGCHLD)
    batches = loader(
        Pool(groups),
        collate,
        workers,
        batch_sampler=share,
        pin_memory=device.type == "cuda",
        worker_init_fn=_ignore_stopping,
    )
    try:
        with iterating(batches) as iterator:
            # torch would report a dead reader at any moment, in the middle of an update too; without its handler, which
            # any loader leaves behind, it is seen when the next batch is asked for, and the state is whole.
            if in_main:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            yield iterator
    finally:
        if in_main:
            signal.signal(signal.SIGCHLD, before)


def _ignore_stopping(_: int) -> None:
    """A launcher tells the readers to stop too; they go on until the training process, told as well, closes them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
