"""Opening, serving and saving recordings with the real viewer, which runs as a process of its own."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldmodel.errors import InputError, RunFailed
from worldmodel.files import written_whole
from worldmodel.settings import Count, Natural, Port, Settings, Text
from worldmodel.viewing.screenshot import write_screenshot
from worldmodel.viewing.viewer_process import viewer_process


@dataclass(frozen=True)
class ViewConfig(Settings):
    """What to do with a recording.

    Attributes:
        path: the .rrd file that `worldmodel predict` or `worldmodel demo` wrote.
        mode: `open` in the viewer on this machine, `serve` for a browser, or `save` to `output`.
        output: for `save`: a .png (a picture of the real viewer, no display needed) or a .rrd (a copy).
        frame: for a .png: the `rollout_frame` it shows; by default the last one, as the viewer opens.
        width, height: for a .png: size of the viewer's window, pixels.
        port: for `serve`: port of the web page; the recording itself is served on the port after it.
        bind: for `serve`: address to listen on; 0.0.0.0 lets other machines in.
    """

    path: Text
    mode: Literal["open", "serve", "save"] = "open"
    output: Text | None = None
    frame: Natural | None = None
    width: Count = 1600
    height: Count = 1000
    port: Port = 9090
    bind: Text = "127.0.0.1"


def view(config: ViewConfig) -> None:
    """Do what `config` says; `open` and `serve` return when the viewer is closed or interrupted.

    Raises:
        InputError: no such recording, not a recording, no display, or an output that cannot be written.
    """
    path = checked_recording(config.path)
    if config.mode == "open":
        _need_display()
        _run_viewer([str(path)])
    elif config.mode == "serve":
        ports = ["--web-viewer-port", str(config.port), "--port", str(config.port + 1)]
        _run_viewer([str(path), "--serve-web", "--bind", config.bind, *ports])
    else:
        _save(path, config)


def checked_recording(path: str | Path) -> Path:
    """`path` if it is a Rerun recording, else an `InputError` that says what it is not."""
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
    if Path(config.output).suffix == ".rrd":
        with written_whole(config.output, ".rrd") as partial:
            shutil.copyfile(path, partial)
    else:
        write_screenshot(path, config.output, config.width, config.height, config.frame)


def _need_display() -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("mode open: no display here; use mode=serve, or mode=save with output=picture.png")


def _run_viewer(arguments: list[str]) -> None:
    try:
        with viewer_process(arguments) as viewer:
            code = viewer.wait()
    except KeyboardInterrupt:
        return
    if code:
        raise RunFailed(f"viewer: ended with code {code}; its message stands above")
