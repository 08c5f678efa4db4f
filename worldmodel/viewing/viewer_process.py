"""Rerun's viewer as a process of its own, which ends with the block that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from worldmodel.termination import signals_held


@contextmanager
def viewer_process(arguments: Sequence[str], quiet: bool = False) -> Iterator[subprocess.Popen]:
    """Start it with these arguments; `quiet` keeps its messages back."""
    silenced = subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", "rerun", *arguments]
    viewer = None
    try:
        with signals_held():
            # `-m rerun` starts the viewer as a child of its own: only their process group ends both.
            viewer = subprocess.Popen(command, stdout=silenced, stderr=silenced, start_new_session=True)
        yield viewer
    finally:
        if viewer is not None:
            with suppress(ProcessLookupError):
                os.killpg(viewer.pid, signal.SIGTERM)
            viewer.wait()
