"""What chips compute in."""

import pytest

from worldmodel.errors import InputError
from worldmodel.export.check.parsers import PARSERS
from worldmodel.export.check.targets import TARGETS, check_precision


@pytest.mark.parametrize(
    ("target", "precision", "passes"),
    [
        ("orin", "fp32", True), ("orin", "fp16", True), ("orin", "int8", True), ("orin", "bf16", False),
        ("orin", "fp8", False),
        ("thor", "bf16", True), ("thor", "int8", True), ("thor", "fp8", True), ("x86", "fp8", True),
    ],
)  # fmt: skip
def test_a_chip_takes_what_it_has(target: str, precision: str, passes: bool) -> None:
    asked = {"encoder": "fp16", "step": precision}
    if passes:
        check_precision(target, asked)
        return
    with pytest.raises(InputError) as refusal:
        check_precision(target, asked)
    said = str(refusal.value)
    assert "Jetson AGX Orin (compute capability 8.7)" in said and f"in {precision}, which the step uses" in said
    assert "precision=int8 or fp16 or fp32, or target=thor or x86" in said


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InputError, match="target=xavier: choose one of orin, thor, x86"):
        check_precision("xavier", {})


def test_rules_are_there_for_the_tensorrt_of_every_system() -> None:
    versions = {version for target in TARGETS.values() for version in target.tensorrt.values()}
    assert versions == set(PARSERS) == {"10.3", "10.13", "10.16", "11.4"}
