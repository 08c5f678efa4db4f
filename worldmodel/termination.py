"""Being told to end from outside: a verb unwinds, so that nothing half written and no process of its own stays behind.

Training has its own answer while a run is going (`worldmodel.training.stopping`): it writes a checkpoint first.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # of Linux' <sys/prctl.h>


class Terminated(BaseException):
    """A signal told this process to end. No `Exception`, so that nothing which survives failures survives this."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}: finished files are kept, half-written ones are not")
        self.exit_code = 128 + number


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise `Terminated` in the main thread; a second one ends it at once.

    Signals that the caller ignores (`nohup`) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def unwind(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if os.getpid() != owner:  # a worker made by fork took this handler with it
            os.kill(os.getpid(), number)
            return
        # torch, and the threads of process pools, would report the workers that end here as failures of their own
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.excepthook = lambda _: None
        for child in multiprocessing.active_children():
            child.terminate()
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCHLD)}
    taken = [number for number in SIGNALS if before[number] is signal.SIG_DFL]
    complain = threading.excepthook
    for number in taken:
        signal.signal(number, unwind)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGCHLD, before[signal.SIGCHLD])
        threading.excepthook = complain
        raise
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def signals_held() -> Iterator[None]:
    """Within the block a signal that somebody handles waits; it acts when the block ends. For steps not to be torn."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for waiting in came:
            os.kill(os.getpid(), waiting)


def end_with_parent() -> None:
    """Called in a new process: once the one that started it is gone, even by SIGKILL, Linux ends it too.

    The process may then run another program (`exec`); those that it starts itself are not ended.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
