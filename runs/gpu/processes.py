"""A process that ends with the one that started it, however that one ended."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Called in the new process: once its parent is gone, even by SIGKILL, it is ended too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
