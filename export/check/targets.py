"""The machines that artifacts are made for, and what their chips compute in.

Standard library only: the exporter and the check on the vehicle ask here alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worldmodel.errors import InputError

TargetName = Literal["orin", "thor", "x86"]


@dataclass(frozen=True)
class Target:
    """One kind of machine.

    Attributes:
        name: as given with `target=`.
        chip: for people.
        compute_capability: of its GPU.
        precisions: in which engines can be built for it, the best choice for latency first.
        tensorrt: the versions that its systems bring, by the system's name.
        stand_in: compute capability that TensorRT-RTX builds for in its place; it supports neither 8.7 nor 11.0.
    """

    name: str
    chip: str
    compute_capability: str
    precisions: tuple[str, ...]
    tensorrt: Mapping[str, str]
    stand_in: str

    def __str__(self) -> str:
        return f"{self.chip} (compute capability {self.compute_capability})"


# Precisions: support matrix of NVIDIA's TensorRT Edge-LLM, which names FP16, INT8 and INT4 for Orin and FP16, BF16,
# INT8, FP8 for Thor. TensorRT by system: NVIDIA's JetPack pages and users' reports (pytorch/TensorRT #3453,
# roboflow/inference #1935, #2478). Nothing of this was run on a Jetson.
TARGETS: dict[str, Target] = {
    "orin": Target(
        "orin",
        "Jetson AGX Orin",
        "8.7",
        ("int8", "fp16", "fp32"),
        {"JetPack 6.1, 6.2": "10.3", "JetPack 7.2": "10.16", "JetPack 7.2.2": "11.4"},
        stand_in="8.6",
    ),
    "thor": Target(
        "thor",
        "Jetson AGX Thor",
        "11.0",
        ("fp8", "int8", "fp16", "bf16", "fp32"),
        {"JetPack 7.0, 7.1": "10.13", "JetPack 7.2": "10.16", "JetPack 7.2.2": "11.4"},
        stand_in="12.0",
    ),
    "x86": Target(
        "x86",
        "PC with an NVIDIA GPU of the Ada generation or newer",
        "8.9",
        ("fp8", "int8", "fp16", "bf16", "fp32"),
        {"TensorRT 10.x": "10.16", "TensorRT 11.x": "11.4"},
        stand_in="8.9",
    ),
}


def target_named(name: str) -> Target:
    """`InputError` for a name that is not in `TARGETS`."""
    if name not in TARGETS:
        raise InputError(f"target={name}: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]


def check_precision(target: str, precisions: Mapping[str, str]) -> None:
    """Refuse what a chip cannot compute in.

    Args:
        target: a key of `TARGETS`.
        precisions: of each part by its name.

    Raises:
        InputError: names the chip, the part and the precision, and what to use instead.
    """
    chip = target_named(target)
    for part, precision in precisions.items():
        if precision not in chip.precisions:
            others = [machine.name for machine in TARGETS.values() if precision in machine.precisions]
            elsewhere = f", or target={' or '.join(others)}" if others else ""
            raise InputError(
                f"target={target}: {chip} does not compute in {precision}, which the {part} uses;"
                f" export with precision={' or '.join(chip.precisions)}{elsewhere}"
            )
