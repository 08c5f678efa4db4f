"""What a result was measured on, and where it is kept: used by the stand-alone benchmarks of this folder."""

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from worldmodel.files import written_whole
from worldmodel.measure.machine import processor_name

RESULTS = Path(__file__).resolve().parent / "results"


def describe(packages: tuple[str, ...]) -> dict[str, Any]:
    """Processor, cores, memory, system and the versions of some packages."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(gibibytes, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[column]) for column in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(name: str, text: str, result: dict[str, Any], keep: bool) -> None:
    """Print a table for people and, as the last line, JSON for programs; `keep` writes both to `results/` by date."""
    machine = result["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in machine["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    text = f"{text}\n\nMachine: {where}; load {machine['load_average'][0]} at the start. Versions: {versions}.\n"
    line = json.dumps(result)
    if keep:
        stem = RESULTS / f"{datetime.date.today().isoformat()}_{name}"
        for path, content in ((stem.with_suffix(".md"), text), (stem.with_suffix(".json"), line + "\n")):
            with written_whole(path) as part:
                part.write_text(content)
    print(text)
    print(line)
