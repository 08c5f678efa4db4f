"""Two benchmarks side by side: first what differs in what was measured, then what differs in the numbers."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from worldmodel.benchmarks.suites.report import with_spread
from worldmodel.benchmarks.suites.results import Figure, Results, Row
from worldmodel.measure.report import Record, markdown_table


def comparison(a: Results, b: Results) -> str:
    """Markdown: differing settings, then the figures of the rows that both have."""
    settings = [[where, str(in_a), str(in_b)] for where, in_a, in_b in differing(_settings(a), _settings(b))]
    parts = [markdown_table(["setting", "A", "B"], settings) if settings else "The settings are the same."]
    if settings:
        parts.append("The numbers below come from different settings.")
    others = {row.label: row for row in b.rows}
    shared = [(row, others[row.label]) for row in a.rows if row.label in others]
    lines = [line for in_a, in_b in shared for line in _figures(in_a, in_b)]
    parts.append(markdown_table(["method", "figure", "A", "B", "B - A"], lines) if lines else "No figure is in both.")
    alone = sorted({row.label for row in a.rows} ^ set(others))
    parts += [f"In one only: {', '.join(alone)}."] if alone else []
    return "\n\n".join(parts)


def differing(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted names at which two nested dictionaries differ, with both values; None for one that is absent."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            yield from differing(a.get(name), b.get(name), f"{where}.{name}".lstrip("."))
    elif a != b:
        yield where, a, b


def _settings(results: Results) -> Record:
    """All that says what was measured, the rows' by their labels."""
    rows = {row.label: {"spec": row.spec, "weights": row.weights} for row in results.rows}
    measures = {name: asdict(measure) for name, measure in results.metrics.items()}
    versions = results.machine.get("versions", {})
    return {
        "suite": results.suite, "settings": results.settings, "clips": results.clips, "metrics": measures,
        "methods": rows, "versions": versions, "device": results.machine.get("device"),
    }  # fmt: skip


def _figures(one: Row, other: Row) -> list[list[str]]:
    names = [name for name in one.figures if name in other.figures]
    return [[one.label, name, *_values(one.figures[name], other.figures[name])] for name in names]


def _values(a: Figure, b: Figure) -> list[str]:
    return [*(with_spread(figure) for figure in (a, b)), f"{b.value - a.value:+.4g}"]
