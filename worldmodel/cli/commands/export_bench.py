"""`worldmodel export bench`: what an artifact's parts and predictions take on this machine, beside torch.

Each measurement is a process of its own and nothing runs beside it: two runtimes in one process fight for the cores
with their threads. In every round all entries take turns, once in this order and once in the other. This process
imports no torch, so that the verb works on a vehicle.
"""

import datetime
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldmodel.errors import InputError, UserError
from worldmodel.export.bench.config import BenchConfig, BenchEntry, check, entries_of, open_variants
from worldmodel.export.bench.figures import figures_of
from worldmodel.export.bench.measurement import Measured, measured_apart
from worldmodel.export.bench.report import Result, report
from worldmodel.measure import machine
from worldmodel.measure.report import publish

NAMES = ("bench.json", "bench.md")
Rounds = dict[str, list[Measured | None]]
"""What each entry measured, by round."""


def bench(config: BenchConfig) -> dict[str, Any]:
    """Time all entries, print tables and write bench.json and bench.md; the last line is JSON.

    Returns:
        What the JSON line holds: the figures. bench.json has the seconds of every run besides.

    Raises:
        InputError: numbers or artifacts that cannot be used, before anything runs; or no entry that could run.
    """
    check(config)
    artifacts = open_variants(config)
    entries = entries_of(config, artifacts)
    started = machine_now(entries[0].request.threads)
    rounds, not_run = measured(entries, config.rounds)
    ran = [entry for entry in entries if any(rounds[entry.name])]
    if not ran:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in not_run.items()))
    reference = next((entry for entry in ran if entry.backend == "eager"), ran[0])
    result = Result(
        manifest=artifacts[0].manifest,
        steps=reference.request.steps,
        chunks=config.chunks,
        figures=[figures_of(entry, rounds[entry.name], rounds[reference.name], artifacts[0]) for entry in ran],
        reference=reference.name,
        not_run=not_run,
        machine=with_workers(
            started, (worker for workers in rounds.values() for worker in workers if worker is not None)
        ),
    )
    return published(config, result, rounds)


def measured(entries: Sequence[BenchEntry], count: int) -> tuple[Rounds, dict[str, str]]:
    """All rounds, one process after another; an entry that cannot run is left out from then on, with its reason."""
    rounds: Rounds = {entry.name: [None] * count for entry in entries}
    not_run: dict[str, str] = {}
    for place in range(count):
        for entry in entries if place % 2 == 0 else reversed(entries):
            if entry.name in not_run:
                continue
            begun = time.monotonic()
            try:
                rounds[entry.name][place] = measured_apart(entry.request)
            except UserError as refusal:
                not_run[entry.name] = str(refusal)
            outcome = "not run" if entry.name in not_run else f"{time.monotonic() - begun:.0f} s"
            print(f"round {place + 1} of {count}: {entry.name}: {outcome}", flush=True)
    return rounds, not_run


def machine_now(threads: int) -> dict[str, Any]:
    """Processor, cores and threads, and how busy the machine is."""
    return {
        "processor": machine.processor_name(),
        "cores": machine.cores(),
        "threads": threads,
        "system": machine.system(),
        "load_average": machine.load_average(2),
        "versions": machine.versions(("worldmodel", "numpy")),
    }


def with_workers(started: dict[str, Any], workers: Iterable[Measured]) -> dict[str, Any]:
    """The same with the versions of what computed, and the GPU where one did."""
    versions, gpu = dict(started["versions"]), None
    for worker in workers:
        versions |= worker.versions
        gpu = worker.device or gpu
    return started | {"versions": versions, "gpu": gpu}


def published(config: BenchConfig, result: Result, rounds: Rounds) -> dict[str, Any]:
    """Write both files, print everything and, last, the line of JSON."""
    folder, text, line = Path(config.out or config.artifacts[0]), report(result), headline(config, result)
    raw = {name: [asdict(worker) if worker else None for worker in workers] for name, workers in rounds.items()}
    contents = (json.dumps(line | {"raw": raw}), text)
    files = {folder / name: content + "\n" for name, content in zip(NAMES, contents, strict=True)}
    publish(f"\n{text}\n", line, files)
    return line


def headline(config: BenchConfig, result: Result) -> dict[str, Any]:
    """For programs: what was asked, and every figure."""
    manifest = result.manifest
    return {
        "checkpoint": manifest.checkpoint.name,
        "family": manifest.family,
        "cameras": manifest.cameras,
        "frames": manifest.frames,
        "size": [manifest.height, manifest.width],
        "chunk_seconds": manifest.frames / manifest.frame_rate,
        "config": asdict(config) | {"steps": result.steps},
        "reference": result.reference,
        "entries": [asdict(figures) for figures in result.figures],
        "not_run": result.not_run,
        "machine": result.machine,
        "date": datetime.date.today().isoformat(),
    }
