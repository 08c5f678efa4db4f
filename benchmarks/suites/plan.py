"""Which rows a benchmark has, and the rows that a suite has by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldmodel.benchmarks.methods.registry import check_method
from worldmodel.benchmarks.suites.config import BenchmarkConfig, Rows
from worldmodel.errors import InputError

TOY: Rows = {
    "flowframes": {"checkpoint": "tiny"},
    "noise_conditioned": {"checkpoint": "tiny_noise_conditioned"},
    "repeat_last": {"size": [128, 192]},
    "latent_extrapolation": {"checkpoint": "tiny"},
    "vae_round_trip": {"checkpoint": "tiny"},
}
"""What is compared on clips where nothing is named: all that ships, baselines and upper bound."""


@dataclass(frozen=True)
class RowSpec:
    """One row: its label, the method's name in the registry, and its options."""

    label: str
    method: str
    options: Mapping[str, Any]


def row_specs(config: BenchmarkConfig) -> list[RowSpec]:
    """The rows over clips; raises `InputError` for a method or an option that does not exist."""
    rows = [_row_spec(label, entry) for label, entry in (config.methods or TOY).items()]
    if config.suite == "nfe":
        rows = [stepped for row in rows for stepped in _over_steps(row, config.evaluations)]
    for row in rows:
        check_method(row.method, row.options)
    return rows


def _row_spec(label: str, entry: Mapping[str, Any]) -> RowSpec:
    if not label.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InputError(f"methods.{label}: a label has letters, digits, - and _ only; it names a folder")
    return RowSpec(label, entry.get("method", label), {key: value for key, value in entry.items() if key != "method"})


def _over_steps(row: RowSpec, evaluations: tuple[int, ...]) -> list[RowSpec]:
    """A row for every number of evaluations, of a method that has steps; others are run once, as they are."""
    if check_method(row.method, {}).get("steps") is None:
        return [row]
    return [RowSpec(f"{row.label}-{steps}", row.method, {**row.options, "steps": steps}) for steps in evaluations]
