"""Opening, serving and saving recordings with the real viewer, which runs as a process of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldmodel.errors import InputError
from worldmodel.viewing.output import written_whole


@dataclass(frozen=True)
class ViewConfig:
    """What to do with a recording.

    Attributes:
        path: the .rrd file that `worldmodel predict` or `worldmodel demo` wrote.
        mode: `open` in the viewer on this machine, `serve` for a browser, or `save` to `output`.
        output: for `save`: a .png (a picture of the viewer as it opens) or a .rrd (a copy).
        port: for `serve`: port of the web page; the data use the port after it.
        width, height: size of the viewer's window for a saved picture, pixels.
    """

    path: str
    mode: Literal["open", "serve", "save"] = "open"
    output: str | None = None
    port: int = 9090
    width: int = 1600
    height: int = 1000


def view(config: ViewConfig) -> None:
    """Do what `config` says; `open` and `serve` return when the viewer is closed or interrupted.

    Raises:
        InputError: no such recording, not a recording, unknown mode, no display, or an output that cannot be written.
    """
    path = checked_recording(config.path)
    if config.mode == "open":
        _need_display(config)
        _run_viewer([str(path)])
    elif config.mode == "serve":
        _run_viewer([str(path), "--serve-web", "--web-viewer-port", str(config.port), "--port", str(config.port + 1)])
    elif config.mode == "save":
        _save(path, config)
    else:
        raise InputError(f"mode {config.mode}: not known; use open, serve or save")


def checked_recording(path: str | Path) -> Path:
    """`path` if it is a Rerun recording, else an `InputError` that says what it is."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such recording; give the .rrd that `worldmodel predict` wrote")
    with path.open("rb") as file:
        if file.read(3) != b"RRF":
            raise InputError(f"{path}: not a Rerun recording; give the .rrd that `worldmodel predict` wrote")
    return path


def _save(path: Path, config: ViewConfig) -> None:
    if config.output is None:
        raise InputError(f"output: missing; mode=save needs a name ending in .png or .rrd, like {path.stem}.png")
    output = Path(config.output)
    if output.suffix == ".rrd":
        with written_whole(output, ".rrd") as partial:
            shutil.copyfile(path, partial)
        return
    with written_whole(output, ".png") as partial:
        _need_display(config)
        size = f"{config.width}x{config.height}"
        _run_viewer([str(path), "--screenshot-to", str(partial), "--window-size", size, "--port", "auto"])


def _need_display(config: ViewConfig) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError(f"mode {config.mode}: no display here; use mode=serve, or run it under xvfb-run -a")


def _run_viewer(arguments: list[str]) -> None:
    try:
        subprocess.run([sys.executable, "-m", "rerun", *arguments], check=True)
    except KeyboardInterrupt:
        return
    except subprocess.CalledProcessError as error:
        raise InputError(f"viewer: ended with code {error.returncode}; see its message above") from None
