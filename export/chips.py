"""Chips for the calculator of `budget.py`: peak throughput and bandwidth as their makers publish them.

Dense figures: a vendor's "sparse" number is halved. What a network reaches is less; what it cannot do is more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

UNVERIFIED = "from memory of the data sheet, not looked up again; unverified"


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        memory_gb: of the GPU; on a Jetson shared with the CPU.
        bandwidth: bytes a second.
        peak: operations a second by precision, two for a multiplication with addition.
        known: where the numbers are from.
    """

    name: str
    memory_gb: float
    bandwidth: float
    peak: Mapping[str, float]
    known: str

    def rate(self, precision: str) -> float | None:
        """Operations a second, None where the chip lacks the precision."""
        return self.peak.get(precision)


def _peaks(**tera: float) -> dict[str, float]:
    return {precision: value * 1e12 for precision, value in tera.items()}


# Jetson AGX Orin: "275 TOPS" are sparse INT8 of GPU (170, 32 GB module: 108) and DLA; here dense and GPU only, as DLA
# has no 3D convolution and no attention. Thor: "2070 TFLOPS" are sparse FP4; FP16 is an eighth of it, which a public
# hardware table gives as 258.5. INT8 on Thor is taken to be as fast as FP8.
CHIPS: tuple[Chip, ...] = (
    Chip("Jetson AGX Orin 32 GB", 32, 204.8e9, _peaks(fp32=3.3, fp16=27, int8=54), UNVERIFIED),
    Chip("Jetson AGX Orin 64 GB", 64, 204.8e9, _peaks(fp32=5.3, fp16=42.5, int8=85), UNVERIFIED),
    Chip(
        "Jetson AGX Thor (T5000)",
        128,
        273e9,
        _peaks(fp32=8.0, fp16=258.5, bf16=258.5, int8=517, fp8=517),
        "FP16 from a public hardware table, INT8 assumed; the rest " + UNVERIFIED,
    ),
    Chip("L4", 24, 300e9, _peaks(fp32=30.3, fp16=121, bf16=121, int8=242.5, fp8=242.5), UNVERIFIED),
    Chip("RTX 4090", 24, 1008e9, _peaks(fp32=82.6, fp16=165.2, bf16=165.2, int8=660.6, fp8=330.3), UNVERIFIED),
    Chip("H100 SXM", 80, 3350e9, _peaks(fp32=67, fp16=989, bf16=989, int8=1979, fp8=1979), UNVERIFIED),
)
