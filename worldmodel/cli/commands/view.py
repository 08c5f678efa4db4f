"""`worldmodel view`: a recording in the real viewer, served for a browser, or saved as a picture."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.settings import Count, Natural, Port, Settings, Text
from worldmodel.viewing.screenshot import write_screenshot
from worldmodel.viewing.viewer_process import checked_recording, need_display, run_viewer


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
        need_display()
        run_viewer([str(path)])
    elif config.mode == "serve":
        ports = ["--web-viewer-port", str(config.port), "--port", str(config.port + 1)]
        run_viewer([str(path), "--serve-web", "--bind", config.bind, *ports])
    else:
        _save(path, config)


def _save(path: Path, config: ViewConfig) -> None:
    if config.output is None:
        raise InputError(f"output: missing; mode=save needs a name ending in .png or .rrd, like {path.stem}.png")
    if Path(config.output).suffix == ".rrd":
        with written_whole(config.output, ".rrd") as partial:
            shutil.copyfile(path, partial)
    else:
        write_screenshot(path, config.output, config.width, config.height, config.frame)
