"""plots.png of a benchmark: over the horizon, over evaluations, over volumes, or by stage, as the suite has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.benchmarks.suites.report import ARROWS
from worldmodel.benchmarks.suites.results import Results, Row
from worldmodel.files import written_whole

STAGES = ("encode", "evaluations", "decode")


def draw(results: Results, path: Path) -> None:
    """Write the PNG that fits the suite."""
    from matplotlib.figure import Figure

    panels = _panels(results)
    figure = Figure(figsize=(5.6 * len(panels), 4.4), layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        panel(axes)
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = min(2 * len(panels) + 1, len(labels))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    with written_whole(path, ".png") as part:
        figure.savefig(part, dpi=110, format="png")


def _panels(results: Results) -> list[Callable[[Any], None]]:
    if results.suite == "memory":
        return [lambda axes: _memory(axes, results.rows)]
    if results.suite == "latency":
        return [lambda axes: _latency(axes, results.rows)]
    names = [name for name in results.metrics if any(name in row.by_frame for row in results.rows)]
    panels = [_horizon(results, name) for name in names]
    return panels + ([_evaluations(results, name) for name in names] if results.suite == "nfe" else [])


def _horizon(results: Results, name: str) -> Callable[[Any], None]:
    def panel(axes: Any) -> None:
        for row in (row for row in results.rows if name in row.by_frame):
            values = row.by_frame[name]
            axes.plot(range(1, len(values) + 1), values, label=row.label)
        axes.set(xlabel="predicted frame", ylabel=_axis(results, name), title="over the horizon")

    return panel


def _evaluations(results: Results, name: str) -> Callable[[Any], None]:
    def panel(axes: Any) -> None:
        curves: dict[str, list[tuple[int, float, float]]] = {}
        for row in (row for row in results.rows if name in row.figures):
            method, _, steps = row.label.rpartition("-")
            if method and row.spec["nfe"] and steps.isdigit():
                figure = row.figures[name]
                curves.setdefault(method, []).append((row.spec["nfe"], figure.value, figure.spread or 0.0))
            else:
                axes.axhline(row.figures[name].value, color="gray", linestyle=":")
        for method, points in curves.items():
            numbers, values, spreads = zip(*sorted(points), strict=True)
            axes.errorbar(numbers, values, spreads, label=method, marker="o", capsize=3)
        axes.set(xscale="log", xlabel="NFE", ylabel=_axis(results, name), title="over evaluations (dotted: the others)")

    return panel


def _memory(axes: Any, rows: list[Row]) -> None:
    for row in rows:
        volumes = np.array([point["volume"] for point in row.by_volume]) / 1e6
        dots = axes.plot(volumes, [point["above_mb"] for point in row.by_volume], "o", label=row.label)
        slope, start = row.figures["k above weights"].value, row.figures["b above weights"].value
        axes.plot(volumes, slope * volumes + start, color=dots[0].get_color())
    axes.set(xlabel="latent numbers of the observed chunk / 10^6", ylabel="MB above the weights", title="peak memory")


def _latency(axes: Any, rows: list[Row]) -> None:
    left = np.zeros(len(rows))
    for stage in STAGES:
        seconds = np.array([row.figures[stage].value if stage in row.figures else 0.0 for row in rows])
        axes.barh([row.label for row in rows], seconds, left=left, label=stage)
        left += seconds
    axes.invert_yaxis()
    axes.set(xlabel="seconds a prediction, median", title="stages")


def _axis(results: Results, name: str) -> str:
    measure = results.metrics[name]
    return f"{name}{f' ({measure.unit})' if measure.unit else ''}{ARROWS[measure.better]}"
