"""Results as a Markdown page for people."""

from worldmodel.benchmarks.published import SOURCE
from worldmodel.benchmarks.suites.results import Figure, Measure, Results, Row
from worldmodel.measure.report import Record, markdown_table

ARROWS = {"higher": " ↑", "lower": " ↓", "one": " → 1", "zero": " → 0"}


def page(results: Results) -> str:
    """Table, what it was measured with, what was left out, remarks and licences."""
    parts = [f"# {results.suite}", _about(results), figures_table(results), *_skipped(results), *_published(results)]
    parts += ["![Plots](plots.png)", *_by_camera(results), *_measures(results.metrics), *_methods(results.rows)]
    return "\n\n".join(parts) + "\n"


def figures_table(results: Results) -> str:
    """Rows are methods, columns are measures."""
    names = list(results.metrics)
    titles = [f"{name}{_unit(measure)}{ARROWS[measure.better]}" for name, measure in results.metrics.items()]
    head = ["method", "NFE", *titles]
    rows = {row.label: row for row in results.rows}
    return markdown_table(head, [_line(label, rows.get(label), names) for label in results.asked or rows])


def _line(label: str, row: Row | None, names: list[str]) -> list[str]:
    if row is None:
        return [label, "left out", *("–" for _ in names)]
    return [label, _nfe(row), *(_cell(row.figures.get(name)) for name in names)]


def _about(results: Results) -> str:
    clips = results.clips
    parts = [f"{clips['count']} clips of {clips['name']} (sha256 {clips['sha256'][:16]})"] if clips else []
    parts += [f"{name}: {value}" for name, value in results.settings.items() if value not in (None, {}, [])]
    machine = results.machine
    if machine:
        device = machine.get("device") or f"{machine['processor']}, {machine['cores']} cores"
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        parts += [device, versions, machine["date"]]
    return "; ".join(parts) + "."


def _unit(measure: Measure) -> str:
    return f" [{measure.unit}]" if measure.unit else ""


def _nfe(row: Row) -> str:
    return str(row.spec["nfe"]) if row.spec.get("nfe") else "–"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    floor = "" if figure.floor is None else f" (floor {number(figure.floor)})"
    return with_spread(figure) + floor


def with_spread(figure: Figure) -> str:
    """The value, and its standard error where there is one."""
    return number(figure.value) + ("" if figure.spread is None else f" ± {number(figure.spread)}")


def number(value: float) -> str:
    """Four digits that count."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _published(results: Results) -> list[str]:
    rows = [row for row in results.rows if row.published]
    if not rows:
        return []
    names = sorted({name for row in rows for name in row.published})
    lines = [
        [row.label, *(number(row.published[name]) if name in row.published else "–" for name in names)] for row in rows
    ]
    return [f"Not measured here ({SOURCE}):", markdown_table(["method", *names], lines)]


def _known(value: float | None) -> str:
    return "–" if value is None else number(value)


def _by_camera(results: Results) -> list[str]:
    parts = []
    for name in sorted({name for row in results.rows for name in row.by_camera}):
        cameras = list(next(row.by_camera[name] for row in results.rows if name in row.by_camera))
        lines = [
            [row.label, *(number(row.by_camera[name][camera]) for camera in cameras)]
            for row in results.rows
            if name in row.by_camera
        ]
        parts += [f"{name} by camera", markdown_table(["method", *cameras], lines)]
    return parts


def _measures(metrics: dict[str, Measure]) -> list[str]:
    lines = []
    for name, measure in metrics.items():
        parts = [f"{key}: {value}" for key, value in measure.protocol.items()]
        parts += [f"± is {measure.spread}"] if measure.spread else []
        if parts:
            lines.append(f"- {name}: {'; '.join(parts)}")
    return ["Measures", "\n".join(lines)] if lines else []


def _skipped(results: Results) -> list[str]:
    if not results.skipped:
        return []
    return ["Left out", "\n".join(f"- {name}: {why}" for name, why in results.skipped.items())]


def _methods(rows: list[Row]) -> list[str]:
    return ["Methods", "\n".join(_method(row) for row in rows)]


def _method(row: Row) -> str:
    spec: Record = row.spec
    licences = spec["licences"]
    height, width = spec["size"]
    parts = [f"{height}x{width}", spec["canvas"], *spec["remarks"]]
    parts.append(f"licences: code {licences['code']}, weights {licences['weights']}")
    return f"- {row.label}: {'; '.join(part.rstrip('.') for part in parts)}."
