"""The document that a benchmark writes: typed, the same for every suite, readable again.

Everything that says what was measured is in `settings`, `clips`, `metrics` and each row's `spec`; everything that
differs from run to run of the same thing is in `times` and `machine`. `comparable` leaves those two out.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.measure.report import Record
from worldmodel.settings import from_document

SCHEMA = 1
OTHER = "give another file, or benchmark again"


@dataclass(frozen=True)
class Figure:
    """One number of one row.

    Attributes:
        spread: one standard error; None where none can be given. interval: 95 %.
        jackknife: the value with its bias by the number of clips taken away.
        floor: what two equally large sets of real clips would score; smaller gaps are noise.
    """

    value: float
    spread: float | None = None
    interval: tuple[float, float] | None = None
    jackknife: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Measure:
    """What a figure's name stands for.

    Attributes:
        unit: as printed. better: which way is good; `one` and `zero` are the best value. spread: how it was had.
        protocol: all that the number depends on: extractor, its sha256, width, resize, frames, rate, dtype.
    """

    unit: str
    better: str
    spread: str = ""
    protocol: Record = field(default_factory=dict)


@dataclass
class Row:
    """One method; its figures are filled in measure by measure.

    Attributes:
        label: name in the table. spec: `methods.method.Spec` as a dictionary. weights: sha256 of every network.
        evaluations: of one prediction: guided evaluations, forward calls, forward batch.
        figures: by name of the measure.
        by_camera: name of the measure, then of the camera. by_frame: of the horizon, from the first predicted frame.
        by_chunk: of the rollout. by_volume: memory at every size.
        published: what the paper printed for the same, if it did.
    """

    label: str
    spec: Record
    weights: dict[str, str] = field(default_factory=dict)
    evaluations: Record = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    by_camera: dict[str, dict[str, float]] = field(default_factory=dict)
    by_frame: dict[str, list[float]] = field(default_factory=dict)
    by_chunk: dict[str, list[float]] = field(default_factory=dict)
    by_volume: list[dict[str, float]] = field(default_factory=list)
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A whole benchmark.

    Attributes:
        settings: of the run, without paths. clips: name, version, sha256 and number of the clips.
        metrics: by name. asked: labels of all rows that were asked for, in order; those without a row were left out.
        skipped: name of a metric or the label of a row, and why it was left out.
        times: seconds, by row and stage. machine: what it ran on.
    """

    suite: str
    settings: Record
    metrics: dict[str, Measure]
    rows: list[Row]
    asked: list[str] = field(default_factory=list)
    clips: Record = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    times: Record = field(default_factory=dict)
    machine: Record = field(default_factory=dict)
    schema: int = SCHEMA

    def comparable(self) -> Record:
        """What two runs of the same thing must agree on."""
        document = asdict(self)
        return {name: value for name, value in document.items() if name not in ("times", "machine")}


def write_results(results: Results, path: Path) -> None:
    """As JSON."""
    with written_whole(path) as part:
        part.write_text(json.dumps(asdict(results), indent=1, allow_nan=False) + "\n")


def read_results(path: str | Path) -> Results:
    """Raises `InputError` for a file that is absent or is no such document."""
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a benchmark's folder or its results.json") from None
    except ValueError as error:
        raise InputError(f"{path}: not the results of a benchmark: {error}; {OTHER}") from error
    return from_document(Results, content, f"{path}: not the results of a benchmark", OTHER)
