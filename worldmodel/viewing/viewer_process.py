"""Rerun's viewer as a process of its own, which ends with the block that started it, and with the process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from worldmodel.errors import InputError, RunFailed
from worldmodel.termination import end_with_parent, signals_held


@contextmanager
def viewer_process(arguments: Sequence[str], quiet: bool = False) -> Iterator[subprocess.Popen]:
    """Start it with these arguments; `quiet` keeps its messages back."""
    silenced = subprocess.DEVNULL if quiet else None
    command = [*viewer_command(), *arguments]
    viewer = None
    try:
        with signals_held():
            viewer = subprocess.Popen(
                command, stdout=silenced, stderr=silenced, start_new_session=True, preexec_fn=end_with_parent
            )
        yield viewer
    finally:
        if viewer is not None:
            with suppress(ProcessLookupError):
                os.killpg(viewer.pid, signal.SIGTERM)
            viewer.wait()


def viewer_command() -> list[str]:
    """The viewer's own program, or, where it does not lie in its package, the module that finds it.

    The module starts the viewer as a child of its own, which outlives both where this process is killed.
    """
    package = find_spec("rerun_cli")
    if package is not None and package.origin is not None and "RERUN_CLI_PATH" not in os.environ:
        program = Path(package.origin).with_name("rerun")
        if program.is_file():
            return [str(program)]
    return [sys.executable, "-m", "rerun"]


def checked_recording(path: str | Path) -> Path:
    """`path` if it is a Rerun recording, else an `InputError` that says what it is not."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such recording; give the .rrd that `worldmodel predict` wrote")
    with path.open("rb") as file:
        if file.read(3) != b"RRF":
            raise InputError(f"{path}: not a Rerun recording; give the .rrd that `worldmodel predict` wrote")
    return path


def need_display() -> None:
    """Raise `InputError` where no window can be opened."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("mode open: no display here; use mode=serve, or mode=save with output=picture.png")


def run_viewer(arguments: Sequence[str]) -> None:
    """Until it is closed or interrupted; `RunFailed` where it ends with a fault."""
    try:
        with viewer_process(arguments) as viewer:
            code = viewer.wait()
    except KeyboardInterrupt:
        return
    if code:
        raise RunFailed(f"viewer: ended with code {code}; its message stands above")
