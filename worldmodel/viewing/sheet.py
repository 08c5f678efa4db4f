"""A rollout on one sheet: cameras as columns in ring order, moments as rows.

Shape legend: N cameras, C colours (3), H height, W width.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.viewing.labels import PAPER, as_image, text_size, write_centred
from worldmodel.viewing.rollout import Rollout, short_name

GAP = 4


def contact_sheet(rollout: Rollout, method: str, path: str | Path, frames: Sequence[int] | None = None) -> Path:
    """Write a PNG: the last observed frame, then for every moment the truth (where known) above the prediction.

    Args:
        frames: numbers of the predicted frames that are shown, 0 = the first; by default a sixth, half and the
            last of the first chunk, and the last frame of the rollout.

    Raises:
        InputError: unknown method, a frame outside the rollout, a name that does not end in .png.
    """
    rows = _rows(rollout, method, _moments(rollout) if frames is None else frames)
    with written_whole(path, ".png") as partial:
        _paste(rollout, rows).save(partial, "PNG")
    return Path(path)


def _moments(rollout: Rollout) -> list[int]:
    chunk = min(rollout.chunk_frames, rollout.horizon)
    return sorted({max(0, chunk // 6 - 1), chunk // 2, chunk - 1, rollout.horizon - 1})


def _rows(rollout: Rollout, method: str, frames: Sequence[int]) -> list[tuple[str, UInt8[Tensor, "N 3 H W"]]]:
    predicted_NGCHW = rollout.prediction(method)
    rows = [("observed\nlast frame", rollout.observed_NFCHW[:, -1])]
    for frame in frames:
        if not 0 <= frame < rollout.horizon:
            raise InputError(f"frames: {frame} is outside the rollout; use 0 to {rollout.horizon - 1}")
        later = f"{rollout.since_observed_s(frame):+.2f} s"
        if rollout.truth_NTCHW is not None and frame < rollout.truth_frames:
            rows.append((f"truth\n{later}", rollout.truth_NTCHW[:, frame]))
        rows.append((f"predicted\n{later}", predicted_NGCHW[:, frame]))
    return rows


def _paste(rollout: Rollout, rows: list[tuple[str, UInt8[Tensor, "N 3 H W"]]]) -> Image.Image:
    height, width = rollout.observed_NFCHW.shape[-2:]
    size = max(12, height // 12)
    left = max(text_size(label, size)[0] for label, _ in rows) + 3 * GAP
    top = text_size("Ag", size)[1] + 4 * GAP
    columns = rollout.ring
    canvas = Image.new("RGB", (left + len(columns) * (width + GAP), top + len(rows) * (height + GAP)), PAPER)
    for column, camera in enumerate(columns):
        x = left + column * (width + GAP)
        write_centred(canvas, (x, 0, x + width, top), short_name(rollout.cameras[camera]), size)
        for row, (_, frames_NCHW) in enumerate(rows):
            canvas.paste(as_image(frames_NCHW[camera]), (x, top + row * (height + GAP)))
    for row, (label, _) in enumerate(rows):
        y = top + row * (height + GAP)
        write_centred(canvas, (0, y, left, y + height), label, size)
    return canvas
