"""What a bench ran on."""

import os
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

from worldmodel.export.bench.measurement import Measured
from worldmodel.measure.machine import cores, processor_name
from worldmodel.version import __version__


def machine_now(threads: int) -> dict[str, Any]:
    """Processor, cores and threads, and how busy the machine is."""
    return {
        "processor": processor_name(),
        "cores": cores(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), "worldmodel": __version__, "numpy": np.__version__},
    }


def with_workers(machine: dict[str, Any], workers: Iterable[Measured]) -> dict[str, Any]:
    """The same with the versions of what computed, and the GPU where one did."""
    versions, gpu = dict(machine["versions"]), None
    for worker in workers:
        versions |= worker.versions
        gpu = worker.device or gpu
    return machine | {"versions": versions, "gpu": gpu}


def machine_line(machine: dict[str, Any]) -> str:
    """For people."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = machine["load_average"][0]
    busy = load > machine["cores"] / 2
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, threads={machine['threads']},"
        f" {machine['system']}{', ' + machine['gpu'] if machine['gpu'] else ''}; load average {load:.2f} at the start."
        f"\nVersions: {versions}."
        + "\n\n**The machine was busy: stop other programs and bench again before relying on this.**"
        * busy
    )
