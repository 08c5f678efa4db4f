"""The sequential decode that other tests compare with is what the ffmpeg program shows, bit for bit.

Goes through the awkward videos that are made here, and through `nasty/` of the footage collection.
"""

import hashlib
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import NASTY, moving_pictures
from footage import ffmpeg_program

from worldmodel.datasets.video.reader import VideoReader

PROGRAM = ffmpeg_program()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no ffmpeg program (install it, or pip install imageio-ffmpeg)")


def shown_by_ffmpeg(path: Path) -> list[str]:
    """MD5 of every frame's samples, rotation not applied."""
    options = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    command = [str(PROGRAM), "-v", "quiet", "-threads", "1", "-noautorotate", "-i", str(path), *options]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


def decoded_in_order(path: Path) -> list[str]:
    """The same of PyAV's sequential decode."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return [hashlib.md5(samples(frame)).hexdigest() for frame in container.decode(stream)]


def samples(frame: av.VideoFrame) -> bytes:
    wide = 2 if "10" in frame.format.name else 1
    planes = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return b"".join(
        rows[: plane.height, : wide * plane.width].tobytes() for rows, plane in zip(planes, frame.planes, strict=True)
    )


@pytest.mark.parametrize("kind", NASTY)
def test_awkward_films(tmp_path: Path, kind: str) -> None:
    path = NASTY[kind](tmp_path, list(moving_pictures(130, 96, 144)))
    shown = shown_by_ffmpeg(path)
    assert len(VideoReader(path).index()) == len(shown)
    assert decoded_in_order(path) == shown


def test_every_listed_nasty_file(footage_folder: Path, footage_manifest: list) -> None:
    nasty = [
        entry for entry in footage_manifest if entry["file"].startswith("nasty/") and str(entry["frames"]).isdigit()
    ]
    if not nasty:
        pytest.skip("no nasty file is listed in the footage collection")
    for entry in nasty:
        path = footage_folder / entry["file"]
        shown = shown_by_ffmpeg(path)
        assert len(VideoReader(path).index()) == len(shown), entry["file"]
        assert decoded_in_order(path) == shown, entry["file"]
