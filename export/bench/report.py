"""Figures as Markdown tables that can be read in a terminal as well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldmodel.export.bench.figures import Disk, Figures
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.measure.report import aligned_table

NOTHING = "-"
RUNS = """Milliseconds of one run, copies to and from a device included.
Speed-up: against {}, the median of the rounds' ratios; above 1 is faster."""
HELD = """Load: until every part has run once. Memory: the most that the process held, at work and while loading.
Step, all parts: ONNX files on disk."""
GPU = " GPU: the most that torch allocated."


@dataclass(frozen=True)
class Result:
    """All there is to say.

    Attributes:
        manifest: of the first artifact.
        reference: the entry that speed-ups are against.
        not_run: entry to reason.
        machine: see `worldmodel.cli.commands.export_bench.machine_now`.
    """

    manifest: Manifest
    steps: int
    chunks: int
    figures: Sequence[Figures]
    reference: str
    not_run: Mapping[str, str]
    machine: dict[str, Any]


def report(result: Result) -> str:
    """Title, tables, what did not run, and the machine."""
    manifest, figures = result.manifest, result.figures
    chunk = f"{manifest.cameras} x {manifest.frames} frames of {manifest.height}x{manifest.width}"
    blocks = [f"# {manifest.checkpoint.name}: {chunk}, {result.steps} steps"]
    blocks += [part_table(figures), RUNS.format(result.reference)]
    if any(one.prediction or one.rollouts for one in figures):
        blocks += [whole_table(figures, result.chunks), budget_line(manifest)]
    blocks += [process_table(figures), HELD + GPU * with_gpu(figures)]
    blocks += [reasons(result.not_run)] if result.not_run else []
    return "\n\n".join([*blocks, machine_line(result.machine)])


def reasons(not_run: Mapping[str, str]) -> str:
    """Why entries did not run, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in not_run.items():
        names.setdefault(reason, []).append(name)
    return "\n".join(f"- not run: {', '.join(same)}: {reason}" for reason, same in names.items())


def budget_line(manifest: Manifest) -> str:
    """What real time means here."""
    together = f"all {manifest.cameras} cameras at once" if manifest.cameras > 1 else "one camera"
    return (
        f"Real time: a chunk lasts {manifest.frames / manifest.frame_rate:.2f} s and is predicted for {together};"
        " 1 x or more keeps up."
    )


def part_table(figures: Sequence[Figures]) -> str:
    """Each part with its entries below each other."""
    names = list(dict.fromkeys(part for one in figures for part in one.parts))
    rows = []
    for part in names:
        for one in figures:
            if (found := one.parts.get(part)) is not None:
                times = [shown(found.median_ms), shown(found.p90_ms), shown(found.best_ms)]
                rows.append([part, one.entry, *times, times_of(found.speedup)])
    return aligned_table(["part", "entry", "median ms", "p90 ms", "best ms", "speed-up"], rows)


def whole_table(figures: Sequence[Figures], chunks: int) -> str:
    """Predictions and rollouts."""
    head, rows = ["prediction", "ms", "speed-up", "real time"], []
    if chunks:
        head += [f"{chunks} chunks by frames s", "by latents s", "saved", "encoder runs"]
    for one in figures:
        found = one.prediction
        row = [one.entry, shown(found.median_ms if found else None), times_of(found.speedup if found else None)]
        row.append(times_of(one.times_real_time))
        if chunks:
            frames, latents = one.rollouts["frames"], one.rollouts["latents"]
            saved = NOTHING if one.saved_share is None else f"{100 * one.saved_share:.1f} %"
            runs = f"{frames.encoder_calls} / {latents.encoder_calls}"
            row += [shown(frames.seconds), shown(latents.seconds), saved, runs]
        rows.append(row)
    return aligned_table(head, rows)


def process_table(figures: Sequence[Figures]) -> str:
    """What it takes to hold: seconds, memory, disk."""
    head = ["process", "precision", "load s", "memory MB", "loading MB", "step MB", "all parts MB"]
    rows = []
    for one in figures:
        precision = one.precision[0] if len(set(one.precision)) == 1 else "/".join(one.precision)
        row = [one.entry, precision, shown(one.load_seconds), whole(one.memory.working), whole(one.memory.loading)]
        rows.append([*row, *disk_cells(one.disk), whole(one.memory.gpu)])
    rows = [[*head, "GPU MB"], *rows]
    head, *rows = rows if with_gpu(figures) else [row[:-1] for row in rows]
    return aligned_table(head, rows)


def disk_cells(disk: Disk | None) -> list[str]:
    """Of the step and of all parts."""
    if disk is None:
        return [NOTHING, NOTHING]
    return [sized(disk.step_mb, disk.step_smaller), sized(disk.all_mb, disk.all_smaller)]


def with_gpu(figures: Sequence[Figures]) -> bool:
    """Whether anything was measured on one."""
    return any(one.memory.gpu is not None for one in figures)


def shown(number: float | None) -> str:
    """Three digits or more, never an exponent."""
    if number is None:
        return NOTHING
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def whole(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.0f}"


def times_of(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{shown(ratio)} x"


def sized(megabytes: float, smaller: float) -> str:
    """A size, and how many times smaller it is than the first artifact's where it is another."""
    return shown(megabytes) if smaller == 1 else f"{shown(megabytes)} ({smaller:.1f} x smaller)"


def machine_line(machine: dict[str, Any]) -> str:
    """What it was measured on, and a warning where that was busy."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = machine["load_average"][0]
    line = (
        f"Machine: {machine['processor']}, {machine['cores']} cores, threads={machine['threads']},"
        f" {machine['system']}{', ' + machine['gpu'] if machine['gpu'] else ''}; load average {load:.2f} at the start."
        f"\nVersions: {versions}."
    )
    busy = "\n\n**The machine was busy: stop other programs and bench again before relying on this.**"
    return line + busy * (load > machine["cores"] / 2)
