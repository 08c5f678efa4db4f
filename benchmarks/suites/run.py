"""`worldmodel benchmark`: config, rows, each row run, results, report."""

import datetime
from dataclasses import asdict, replace
from importlib.util import find_spec

from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.folder import BenchmarkFolder
from worldmodel.benchmarks.suites.plots import draw
from worldmodel.benchmarks.suites.report import page
from worldmodel.benchmarks.suites.results import Results, write_results
from worldmodel.measure import machine
from worldmodel.measure.report import publish


def benchmark(config: BenchmarkConfig) -> Results | None:
    """Run it; the first process writes and prints the results, the last line of which is JSON.

    Raises:
        InputError: settings, clips, methods or a folder that cannot be used.
    """
    folder = BenchmarkFolder(config.out)
    results = run_suite(config, folder)
    if results is None:
        return None
    about = machine.describe(("torch", "diffusers")) | {"date": str(datetime.date.today())}
    results = replace(results, machine=about | results.machine)
    write_results(results, folder.out / "results.json")
    if find_spec("matplotlib") is not None:
        draw(results, folder.out / "plots.png")
    text = page(results)
    publish(text, headline(results, folder), {folder.out / "report.md": text})
    return results


def run_suite(config: BenchmarkConfig, folder: BenchmarkFolder) -> Results | None:
    """The results of one suite, None in all processes but the first.

    Each way is imported where it is taken: memory and latency read neither pictures nor videos.
    """
    if config.suite in ("memory", "latency"):
        from worldmodel.benchmarks.suites.cost import run_cost

        settings = {"suite": config.suite, "methods": config.methods, "cost": asdict(config.cost)}
        folder.prepare(settings, False, config.overwrite)
        return run_cost(config)
    from worldmodel.benchmarks.suites.over_clips import run_over_clips

    return run_over_clips(config, folder)


def headline(results: Results, folder: BenchmarkFolder) -> dict[str, object]:
    """For programs: where the results are, the figures by row, and the rows that were left out."""
    figures = {
        row.label: {name: round(figure.value, 6) for name, figure in row.figures.items()} for row in results.rows
    }
    left_out = {label: results.skipped[label] for label in results.asked if label in results.skipped}
    line: dict[str, object] = {"results": str(folder.out / "results.json"), **figures}
    return line | ({"left_out": left_out} if left_out else {})
