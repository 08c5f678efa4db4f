"""Reading in processes of their own: an error comes back as the sentence that it was, a dead process as one too.

torch puts the whole traceback of a reader into its message, and makes an `OSError` of that text which has lost its
file. So readers hand errors on as values here, and whoever reads raises them.
"""

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from worldmodel.errors import RunFailed, UserError, whole_message

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


class Failure:
    """What stands in place of a sample, and of the batch it is in, that could not be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Telling:
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except ConnectionError:  # looks like a reader that died, see `reader_died`; torch says that it is none
            raise
        except (UserError, OSError) as error:
            return Failure(error)


class _Collating:
    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        failures = (sample for sample in samples if isinstance(sample, Failure))
        return next(failures, None) or self.collate(samples)


def loader(dataset: Any, collate: Callable[[list[Any]], Any], workers: int, **options: Any) -> "DataLoader[Any]":
    """A `DataLoader` whose batches are to go through `raised`; without processes it raises errors where they arise."""
    from torch.utils.data import DataLoader  # here: the toy world's processes need no torch

    if not workers:
        return DataLoader(dataset, collate_fn=collate, **options)
    telling: Any = _Telling(dataset)  # no torch Dataset, for the same reason
    return DataLoader(telling, collate_fn=_Collating(collate), num_workers=workers, **options)


def raised(batch: Any) -> Any:
    """`batch`, or the error of a sample of it."""
    if isinstance(batch, Failure):
        raise batch.error
    return batch


@contextmanager
def reading(
    dataset: Any, collate: Callable[[list[Any]], Any], workers: int, setting: str, **options: Any
) -> Iterator[Iterator[Any]]:
    """All batches in order; the readers end with the block, however it ends.

    Raises:
        InputError: a sample cannot be read.
        RunFailed: a reader died; it names the `setting` that needs less memory.
        OSError: as a reader met it.
    """
    with dead_processes_named(setting), iterating(loader(dataset, collate, workers, **options)) as batches:
        yield map(raised, batches)


@contextmanager
def iterating(batches: "DataLoader[Any]") -> Iterator[Iterator[Any]]:
    """The batches of a loader; its readers end with the block, and not when somebody collects the garbage."""
    iterator: Any = iter(batches)
    try:
        yield iterator
    finally:
        if hasattr(iterator, "_shutdown_workers"):  # not where this process reads
            iterator._shutdown_workers()


@contextmanager
def dead_processes_named(setting: str, what: str = "reader") -> Iterator[None]:
    """Turn what torch and the standard library say of a process that is gone into one `RunFailed`."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not reader_died(error):
            raise
        first = whole_message(error)
        raise RunFailed(f"a {what} process died ({first}); with less memory use {setting}") from error


def reader_died(error: Exception) -> bool:
    """Whether this is how a reader process that is gone is reported, and not an error that a reader handed on.

    A reader that dies while a batch is on its way leaves a broken connection.
    """
    if isinstance(error, RuntimeError):
        return isinstance(error, BrokenProcessPool) or "DataLoader worker (pid" in str(error)
    return "Caught " not in str(error)
