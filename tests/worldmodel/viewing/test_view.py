"""Opening, serving and saving with the real viewer."""

import io
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldmodel.cli.commands.view import ViewConfig, view
from worldmodel.errors import InputError
from worldmodel.termination import end_with_parent
from worldmodel.viewing import write_recording, write_screenshot
from worldmodel.viewing.screenshot import _free_port


@pytest.fixture(scope="module")
def recording(small_rollout, tmp_path_factory) -> Path:
    return write_recording(tmp_path_factory.mktemp("view") / "small.rrd", small_rollout)


def has_vulkan() -> bool:
    return any(Path("/usr/share/vulkan/icd.d").glob("*.json")) or any(Path("/etc/vulkan/icd.d").glob("*.json"))


def test_bad_input_is_named(recording, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "text.rrd").write_text("no recording")
    cases = [
        (ViewConfig(path=str(tmp_path / "none.rrd")), "none.rrd: no such recording; give the .rrd"),
        (ViewConfig(path=str(tmp_path / "text.rrd")), "text.rrd: not a Rerun recording"),
        (ViewConfig(path=str(recording), mode="save"), "output: missing; .* small.png"),
        (ViewConfig(path=str(recording), mode="save", output=str(tmp_path / "a.gif")), r"a.gif: .* ending in \.png"),
    ]
    if sys.platform == "linux":
        cases.append((ViewConfig(path=str(recording)), "no display here; use mode=serve"))
    for config, message in cases:
        with pytest.raises(InputError, match=message):
            view(config)
    assert [file.name for file in tmp_path.iterdir()] == ["text.rrd"]


def test_a_copy_is_the_same_file(recording, tmp_path):
    view(ViewConfig(path=str(recording), mode="save", output=str(tmp_path / "copy.rrd")))
    assert (tmp_path / "copy.rrd").read_bytes() == recording.read_bytes()


def test_serve_hands_out_the_web_viewer(recording):
    port = _free_port()
    code = "from worldmodel.cli.commands.view import *\n"
    code += f"view(ViewConfig(path={str(recording)!r}, mode='serve', port={port}))"
    server = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True, preexec_fn=as_from_a_terminal
    )
    try:
        page = fetched(f"http://127.0.0.1:{port}/", server)
    finally:
        interrupt_group(server)
    assert "web viewer" in page


def as_from_a_terminal() -> None:
    """Heed SIGINT, which tests in the background of a shell ignore, and end with tests that are killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent()


def fetched(url: str, server: subprocess.Popen) -> str:
    for _ in range(600):
        assert server.poll() is None, server.stderr.read()
        try:
            return urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the web viewer did not answer")


def interrupt_group(server: subprocess.Popen) -> None:
    """What a terminal's Ctrl-C does: the signal goes to the viewer as well."""
    import os

    os.killpg(server.pid, signal.SIGINT)
    server.communicate(timeout=20)


def test_no_graphics_driver_is_said(recording, tmp_path, monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "none.json"))
    monkeypatch.setenv("WGPU_BACKEND", "vulkan")
    with pytest.raises(InputError, match="it needs a graphics driver, .* mesa-vulkan-drivers"):
        write_screenshot(recording, tmp_path / "viewer.png", width=400, height=300)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not has_vulkan(), reason="no Vulkan driver: install mesa-vulkan-drivers")
def test_the_real_viewer_shows_the_frames(recording, small_rollout, tmp_path):
    path = write_screenshot(recording, tmp_path / "viewer.png", width=1200, height=800, frame=7)
    picture = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)
    assert picture.shape == (800, 1200, 3)
    # Two cameras are two rows of truth and two methods; each must show more than the viewer's dark background.
    for row in range(2):
        for column in range(3):
            cell = picture[100 + 217 * row : 270 + 217 * row, 80 + 400 * column : 320 + 400 * column]
            assert cell.max(axis=-1).mean() > 60, (row, column)
