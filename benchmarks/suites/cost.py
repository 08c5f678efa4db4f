"""suite=memory and suite=latency: one row after the other, each network freed before the next is made."""

import gc
from dataclasses import asdict

import torch
from tqdm import tqdm

from worldmodel.benchmarks.methods.method import Method
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.published import MEMORY
from worldmodel.benchmarks.suites import latency, memory, volumes
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.results import Results, Row
from worldmodel.measure.machine import device_name


def run_cost(config: BenchmarkConfig) -> Results:
    """All rows that are asked for, else all that there are."""
    rows, devices = [], set()
    for label in tqdm(list(config.methods or volumes.ROWS), desc=config.suite, unit="row"):
        row, device = (_memory if config.suite == "memory" else _latency)(label, config)
        rows.append(row)
        devices.add(device_name(device))
    measures = memory.measures_of(config.memory_protocol) if config.suite == "memory" else latency.MEASURES
    settings = asdict(config.cost) | {"weights": "random", "seed": config.seed, "protocol": config.protocol}
    return Results(config.suite, settings, measures, rows, machine={"device": ", ".join(sorted(devices))})


def _open(label: str, which: int | None, config: BenchmarkConfig) -> Method:
    small = config.cost.profile == "small"
    given = config.methods.get(label, {})
    gc.collect()  # what refers to itself is freed here alone: else two networks would be in memory
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    options = volumes.options_at(label, which, small, config.cost.guided, given, config.memory_protocol)
    return open_method(volumes.method_of(label), options)


def _latency(label: str, config: BenchmarkConfig) -> tuple[Row, torch.device]:
    method = _open(label, None, config)
    device = method.device
    measured = latency.measure(method, config.cost, device)
    return _row(label, method, measured.figures(method)), device


def _memory(label: str, config: BenchmarkConfig) -> tuple[Row, torch.device]:
    points, small, protocol = [], config.cost.profile == "small", config.memory_protocol
    for which in range(config.cost.volumes):
        method = _open(label, which, config)
        device = method.device
        volume = volumes.volume_of(label, which, small, protocol)
        points.append(memory.measure(method, volume, config.cost, device))
    row = _row(label, method, memory.figures(points, protocol))
    row.by_volume.extend(point.numbers() for point in points)
    if label in MEMORY:
        row.published.update({"k": MEMORY[label].k, "b": MEMORY[label].b})
    return row, device


def _row(label: str, method: Method, figures: dict) -> Row:
    cost = asdict(method.evaluations)
    cost.pop("guidance_skipped")
    return Row(label, asdict(method.spec), evaluations=cost, figures=figures)
