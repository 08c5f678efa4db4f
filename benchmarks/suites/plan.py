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
"""What is compared on clips where nothing is named: all that ships, floor and ceiling."""


@dataclass(frozen=True)
class Plan:
    """One row: its label, the method's name in the registry, and its options."""

    label: str
    method: str
    options: Mapping[str, Any]


def plans(config: BenchmarkConfig) -> list[Plan]:
    """The rows over clips; raises `InputError` for a method or an option that does not exist."""
    found = [_plan(label, entry) for label, entry in (config.methods or TOY).items()]
    if config.suite == "nfe":
        found = [_with_steps(plan, steps) for plan in found for steps in _steps(plan, config.evaluations)]
    for plan in found:
        check_method(plan.method, plan.options)
    return found


def _plan(label: str, entry: Mapping[str, Any]) -> Plan:
    if not label.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InputError(f"methods.{label}: a label has letters, digits, - and _ only; it names a folder")
    return Plan(label, entry.get("method", label), {key: value for key, value in entry.items() if key != "method"})


def _steps(plan: Plan, evaluations: tuple[int, ...]) -> tuple[int | None, ...]:
    """Of a method that has steps: all that are asked for; others are run once, as they are."""
    return evaluations if check_method(plan.method, {}).get("steps") is not None else (None,)


def _with_steps(plan: Plan, steps: int | None) -> Plan:
    if steps is None:
        return plan
    return Plan(f"{plan.label}-{steps}", plan.method, {**plan.options, "steps": steps})
