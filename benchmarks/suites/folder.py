"""The folder of a benchmark: its settings, per row predictions and scores, and the results.

out/settings.json           what was asked for; a resumed benchmark must ask for the same
out/rows/LABEL/row.json     how the method was run, and the hashes of its weights
out/rows/LABEL/predictions  one file per clip
out/rows/LABEL/scores       one file per clip
out/truth/FxHxW/EXTRACTOR   features of the F true frames of each chunk, one file per clip
out/results.json, report.md, plots.png, recordings
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from worldmodel.benchmarks.suites.compare import differing
from worldmodel.benchmarks.suites.predictions import Predictions
from worldmodel.benchmarks.suites.scoring import Scores
from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.measure.report import Record

SETTINGS = "settings.json"


class BenchmarkFolder:
    """Where everything lies."""

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)

    def prepare(self, settings: Record, resume: bool, overwrite: bool) -> None:
        """Make the folder, or open the one that holds the same benchmark.

        Raises:
            InputError: a benchmark is there and neither `resume` nor `overwrite` is said, or it is another one.
        """
        kept = self.out / SETTINGS
        settings = json.loads(json.dumps(settings))  # tuples are lists in what is kept, and no difference
        if kept.is_file() and overwrite:
            shutil.rmtree(self.out)
        elif kept.is_file() and not resume:
            raise InputError(f"out={self.out} holds a benchmark: add resume=true or overwrite=true, or choose another")
        elif kept.is_file():
            names = [name for name, _, _ in differing(json.loads(kept.read_text()), settings)]
            if names:
                raise InputError(f"out={self.out} was begun with other {', '.join(names)}; set them back or start anew")
            return
        elif resume:
            raise InputError(f"out={self.out} holds no benchmark to resume: leave resume out, or check the folder")
        with written_whole(kept) as part:
            part.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")

    def discard_unused(self) -> None:
        """Take the folder away again where no row was begun, so that another try needs no `overwrite`."""
        if not (self.out / "rows").exists():
            (self.out / SETTINGS).unlink(missing_ok=True)
            with suppress(OSError):  # what else lies in it stays
                self.out.rmdir()

    def truth(self, frames: int, size: Sequence[int], extractor: str) -> Scores:
        """Features of the true frames of this size, so many a chunk: rows of one size may predict other numbers."""
        return Scores(self.out / "truth" / "x".join(map(str, (frames, *size))) / extractor)

    def row(self, label: str) -> "RowFolder":
        """Of one method."""
        return RowFolder(self.out / "rows" / label)


class RowFolder:
    """Predictions and scores of one method, and how it was run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.predictions, self.scores = Predictions(folder / "predictions"), Scores(folder / "scores")

    def write_metadata(self, spec: Record, weights: dict[str, str]) -> None:
        """Write row.json, or compare with the one that is there; raises `InputError` where the weights differ."""
        card, path = {"spec": spec, "weights": weights}, self.folder / "row.json"
        card = json.loads(json.dumps(card))
        if path.is_file():
            names = [name for name, _, _ in differing(json.loads(path.read_text()), card)]
            if names:
                raise InputError(f"{path}: begun with other {', '.join(names)}; set them back or use overwrite=true")
            return
        with written_whole(path) as part:
            part.write_text(json.dumps(card, indent=1) + "\n")

    def metadata(self) -> Record:
        """What `write_metadata` wrote: `spec` and `weights`."""
        metadata: Record = json.loads((self.folder / "row.json").read_text())
        return metadata
