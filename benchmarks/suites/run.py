"""`worldmodel benchmark`: one suite, its results as JSON, a page and plots."""

import datetime
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.cost import run_cost
from worldmodel.benchmarks.suites.folder import BenchmarkFolder
from worldmodel.benchmarks.suites.plan import plans
from worldmodel.benchmarks.suites.plots import draw
from worldmodel.benchmarks.suites.report import page
from worldmodel.benchmarks.suites.results import Results, write_results
from worldmodel.benchmarks.suites.table import Table
from worldmodel.measure import machine
from worldmodel.measure.report import publish

if TYPE_CHECKING:
    from worldmodel.benchmarks.suites.over_clips import Ground


def benchmark(config: BenchmarkConfig) -> Results | None:
    """Run it; the first process writes and prints the results, the last line of which is JSON.

    Raises:
        InputError: settings, clips, methods or a folder that cannot be used.
    """
    folder = BenchmarkFolder(config.out)
    if config.suite in ("memory", "latency"):
        folder.prepare(
            {"suite": config.suite, "methods": config.methods, "cost": asdict(config.cost)}, False, config.overwrite
        )
        results = run_cost(config)
    else:
        found = _over_clips(config, folder)
        if found is None:
            return None
        results = found
    about = machine.describe(("torch", "diffusers")) | {"date": str(datetime.date.today())}
    results = replace(results, machine=about | results.machine)
    write_results(results, folder.out / "results.json")
    if find_spec("matplotlib") is not None:
        draw(results, folder.out / "plots.png")
    left_out = {label: results.skipped[label] for label in results.asked if label in results.skipped}
    line = {"results": str(folder.out / "results.json"), **headline(results)}
    text = page(results)
    publish(text, line | ({"left_out": left_out} if left_out else {}), {folder.out / "report.md": text})
    return results


def headline(results: Results) -> dict[str, dict[str, float]]:
    """The figures, by row."""
    return {row.label: {name: round(one.value, 6) for name, one in row.figures.items()} for row in results.rows}


def _over_clips(config: BenchmarkConfig, folder: BenchmarkFolder) -> Results | None:
    """The first process' results; the others have none."""
    from accelerate import PartialState

    from worldmodel.benchmarks.suites import over_clips  # reads pictures and films, which memory and latency do not

    ground = over_clips.open_ground(config)
    labels = over_clips.fill(ground, folder)
    return _added_up(ground, folder, labels) if PartialState().is_main_process else None


def _added_up(ground: "Ground", folder: BenchmarkFolder, labels: dict[str, str]) -> Results:
    if ground.config.recordings and labels:
        from worldmodel.benchmarks.suites.recordings import write_recordings

        write_recordings(ground, folder, list(labels))
    table = Table(ground.references, ground.instruments)
    rows = [table.row(label, method, folder) for label, method in labels.items()]
    clips = {
        "name": ground.clips.label, "sha256": ground.clips.sha256, "count": len(ground.numbers),
        "of": len(ground.clips), "expected": ground.clips.expected, "notes": list(ground.clips.notes),
    }  # fmt: skip
    settings = {name: ground.settings[name] for name in ("seed", "chunks", "resample")}
    asked = [plan.label for plan in plans(ground.config)]
    return Results(ground.config.suite, settings, table.measures, rows, asked, clips, ground.skipped | table.skipped)
