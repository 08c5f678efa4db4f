"""A picture of a recording in the real viewer, which runs without a window or an X server."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.viewing.viewer_process import viewer_process

if TYPE_CHECKING:
    from rerun.experimental import ViewerClient

START_SECONDS, SETTLE_SECONDS, TRIES = 60.0, 1.0, 20
NOT_DRAWING = (
    "viewer: did not start or ended by itself; it needs a graphics driver, on a machine without a card Mesa's software"
    " Vulkan (apt-get install mesa-vulkan-drivers)"
)


def write_screenshot(
    recording: str | Path, path: str | Path, width: int = 1600, height: int = 1000, frame: int | None = None
) -> Path:
    """Write a PNG of the viewer as it opens `recording`, or at `rollout_frame` = `frame`.

    Drawing needs a graphics card or Mesa's software Vulkan; the viewer is closed again.

    Raises:
        InputError: the name does not end in .png, or the viewer cannot start or load the recording.
    """
    with written_whole(path, ".png") as partial, _windowless_viewer(width, height) as client:
        if not client.open(str(Path(recording).absolute())).store_ids:
            raise InputError(f"{recording}: the viewer cannot load it; write it anew with `worldmodel predict`")
        if frame is not None:
            client.set_time("rollout_frame", sequence=frame, play_state="paused")
        partial.write_bytes(_settled_picture(client))
    return Path(path)


def _settled_picture(client: "ViewerClient") -> bytes:
    """Images and chunks arrive after the window is drawn: wait until two pictures in a row are equal."""
    last = b""
    for _ in range(TRIES):
        time.sleep(SETTLE_SECONDS)
        picture = client.take_screenshot()
        if picture == last:
            return picture
        last = picture
    return last


@contextmanager
def _windowless_viewer(width: int, height: int) -> "Iterator[ViewerClient]":
    port = _free_port()
    arguments = ["--headless", "--hide-welcome-screen", "--bind", "127.0.0.1"]
    arguments += ["--port", str(port), "--window-size", f"{width}x{height}"]
    with viewer_process(arguments, quiet=True) as viewer:
        try:
            yield _connected(viewer, port)
        except ConnectionError:  # without a driver the viewer answers at first and ends when it is to draw
            raise InputError(NOT_DRAWING) from None


def _connected(viewer: subprocess.Popen, port: int) -> "ViewerClient":
    from rerun.experimental import ViewerClient

    if not hasattr(ViewerClient, "take_screenshot"):
        raise InputError("viewer: a picture of it needs rerun-sdk 0.41 or newer (Python 3.11); use mode=open")
    start = time.monotonic()
    while viewer.poll() is None and time.monotonic() - start < START_SECONDS:
        try:
            client = ViewerClient.connect(f"rerun+http://127.0.0.1:{port}/proxy")
            client.get_state()
            return client
        except ConnectionError:
            time.sleep(0.2)
    raise InputError(NOT_DRAWING)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
