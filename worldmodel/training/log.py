"""What a run says while it trains: log.jsonl always, and the trackers that were asked for."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate import Accelerator
from PIL import Image

from worldmodel.errors import MissingDependency
from worldmodel.files import written_whole
from worldmodel.measure.report import Record
from worldmodel.training.checkpoints import flat_settings
from worldmodel.training.config import TrainConfig

LOG = "log.jsonl"


def check_trackers(trackers: Sequence[str]) -> None:
    """Raise `MissingDependency` for a tracker that is not installed."""
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise MissingDependency(f"trackers: {name} is not installed; pip install {name}, or leave it out")


class RunLog:
    """Figures by step. A resumed run keeps the lines up to its checkpoint and goes on behind them."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, out: Path, resumed_at: int) -> None:
        self.accelerator, self.out = accelerator, out
        if accelerator.is_main_process:
            _cut_log(out / LOG, resumed_at)
            self.file = (out / LOG).open("a")
        settings = {name: _loggable(value) for name, value in flat_settings(config).items()}
        accelerator.init_trackers("worldmodel", config=settings)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for tracker in self.accelerator.trackers:  # not end_training, which ends the talk between processes too
            tracker.finish()
        if self.accelerator.is_main_process:
            self.file.close()

    def write(self, step: int, figures: Record) -> None:
        """One line, and the same to the trackers."""
        if self.accelerator.is_main_process:
            self.file.write(json.dumps({"step": step} | figures) + "\n")
            self.file.flush()
        self.accelerator.log(figures, step=step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        """A PNG in `samples`, and the same to TensorBoard."""
        with written_whole(self.out / "samples" / f"{name}-{step:08d}.png", ".png") as part:
            picture.save(part, "PNG")
        if "tensorboard" in [tracker.name for tracker in self.accelerator.trackers]:
            import numpy as np

            board = self.accelerator.get_tracker("tensorboard", unwrap=True)
            board.add_image(name, np.asarray(picture), step, dataformats="HWC")


def _cut_log(log: Path, step: int) -> None:
    """Keep the whole lines up to `step`."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    kept = [line for line in lines if _step_of(line) <= step]
    with written_whole(log) as part:
        part.write_text("".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """Infinite for a line that was not written whole."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _loggable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else str(value)
