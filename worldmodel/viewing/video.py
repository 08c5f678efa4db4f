"""A rollout as a video for people, and frames as lossless files for programs.

Shape legend: N cameras, F observed frames, G predicted frames, T frames, C colours (3), H height, W width.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from worldmodel.datasets.nuscenes import RING
from worldmodel.errors import InputError
from worldmodel.files import media_url, written_whole
from worldmodel.viewing.labels import PAPER, as_image, write_centred
from worldmodel.viewing.rollout import Rollout, short_name

# As one looks at a vehicle's cameras: the front row from left to right, the back row below it.
PANEL = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
OBSERVED_EDGE, PREDICTED_EDGE, TRUTH_EDGE, NO_FRAME = (150, 150, 150), (80, 170, 255), (90, 200, 110), (60, 60, 60)
LOSSLESS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "webp": {"lossless": True, "quality": 30, "method": 2},
}
BAR, EDGE = 26, 4


def write_video(path: str | Path, rollout: Rollout, method: str) -> Path:
    """Write an mp4 (H.264, yuv420p): observed frames, then the prediction above the truth where that is known.

    Six nuScenes cameras stand as two rows of three, other rigs in a row of up to three. A grey edge and the bar's
    words mark what was observed, a blue edge what was predicted, a green edge the truth.

    Raises:
        InputError: unknown method, or a name that does not end in .mp4.
    """
    import av

    rollout.prediction(method)
    with written_whole(path, ".mp4") as partial:
        with av.open(media_url(partial), "w", format="mp4") as container:
            rate = Fraction(rollout.frame_rate).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1
            for number, picture in enumerate(_pictures(rollout, method)):
                if number == 0:
                    stream.width, stream.height = picture.size
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
            container.mux(stream.encode())
    return Path(path)


def write_frames(folder: str | Path, frames_TCHW: UInt8[Tensor, "T 3 H W"], format: str = "png") -> Path:
    """Write `00000.png`, `00001.png`, ... (or lossless `.webp`) into a new folder that appears when it is complete.

    Raises:
        InputError: unknown format, or the folder is there already and not empty.
    """
    folder = Path(folder)
    if format not in LOSSLESS:
        raise InputError(f"format {format}: not a lossless format that is known; use {' or '.join(LOSSLESS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; give another folder or remove it")
    with written_whole(folder, "") as partial:
        partial.mkdir()
        for index, frame_CHW in enumerate(frames_TCHW):
            as_image(frame_CHW).save(partial / f"{index:05d}.{format}", **LOSSLESS[format])
    return folder


def _pictures(rollout: Rollout, method: str) -> Iterator[Image.Image]:
    for frame in range(rollout.observed_frames + rollout.horizon):
        future = frame - rollout.observed_frames
        seconds = rollout.since_observed_s(future)
        if future < 0:
            panel = _panel(rollout, rollout.observed_NFCHW[:, frame], f"observed {seconds:+.2f} s", OBSERVED_EDGE)
            yield _stacked([panel] if rollout.truth_NTCHW is None else [panel, panel])
            continue
        label = f"predicted {seconds:+.2f} s, {method}"
        panels = [_panel(rollout, rollout.predicted_NGCHW[method][:, future], label, PREDICTED_EDGE)]
        if rollout.truth_NTCHW is not None:
            known = future < rollout.truth_frames
            truth_NCHW = rollout.truth_NTCHW[:, future] if known else None
            label = f"truth {seconds:+.2f} s" if known else "no truth recorded"
            panels.append(_panel(rollout, truth_NCHW, label, TRUTH_EDGE if known else NO_FRAME))
        yield _stacked(panels)


def _panel(
    rollout: Rollout, frames_NCHW: UInt8[Tensor, "N 3 H W"] | None, label: str, edge: tuple[int, int, int]
) -> Image.Image:
    """All cameras at one moment below a bar that says what they are; black where there are no frames."""
    height, width = rollout.observed_NFCHW.shape[-2:]
    order = _panel_order(rollout.cameras)
    columns = min(3, len(order))
    rows = -(-len(order) // columns)
    canvas = Image.new("RGB", (columns * (width + EDGE) + EDGE, BAR + rows * (height + EDGE) + EDGE), PAPER)
    ImageDraw.Draw(canvas).rectangle((0, BAR, canvas.width - 1, canvas.height - 1), fill=edge)
    write_centred(canvas, (0, 0, canvas.width, BAR), label, 17)
    for place, camera in enumerate(order):
        x, y = EDGE + place % columns * (width + EDGE), BAR + EDGE + place // columns * (height + EDGE)
        picture = Image.new("RGB", (width, height)) if frames_NCHW is None else as_image(frames_NCHW[camera])
        canvas.paste(picture, (x, y))
        if len(order) > 1:
            write_centred(canvas, (x, y, x + width, y + 20), short_name(rollout.cameras[camera]), 12)
    return canvas


def _panel_order(cameras: tuple[str, ...]) -> list[int]:
    if not set(cameras) <= set(RING):
        return list(range(len(cameras)))
    return sorted(range(len(cameras)), key=lambda camera: PANEL.index(cameras[camera]))


def _stacked(panels: list[Image.Image]) -> Image.Image:
    """Panels one above the other; even sides, which H.264 with yuv420p needs."""
    width, height = panels[0].width, sum(panel.height for panel in panels)
    canvas = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    y = 0
    for panel in panels:
        canvas.paste(panel, (0, y))
        y += panel.height
    return canvas
