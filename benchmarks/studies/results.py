"""Where studies keep their dated results, each with the machine that it was measured on."""

from pathlib import Path

from worldmodel.measure import report
from worldmodel.measure.machine import described
from worldmodel.measure.report import Record

RESULTS = Path(__file__).resolve().parents[1] / "results"


def publish(name: str, text: str, result: Record, keep: bool) -> None:
    """Print a page and, as the last line, `result` as JSON; `keep` writes both to `results/` by date."""
    page = f"{text}\n\n{described(result['machine'])}\n"
    report.publish(page, result, report.dated(RESULTS, name, page, result) if keep else None)
