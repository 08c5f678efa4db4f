"""`calibration.json`: what was quantised, what was not and why, and the ranges that it rests on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from worldmodel.files import written_whole

NAME = "calibration.json"


@dataclass(frozen=True)
class Layer:
    """One linear.

    Attributes:
        quantised: whether it computes in 8 bits.
        why_not: None where it does.
        input_largest: abs-max of its input over the calibration samples, None where that was not measured.
        input_saturates: magnitude from which the quantised input saturates, after smoothing.
        input_scale: of the quantised input, after smoothing.
        smoothing: "folded", or why it takes a node of its own; None where it was not asked for.
    """

    quantised: bool
    why_not: str | None = None
    input_largest: float | None = None
    input_saturates: float | None = None
    input_scale: float | None = None
    smoothing: str | None = None


@dataclass(frozen=True)
class QuantisationRecord:
    """One quantised graph.

    Attributes:
        graph: name of the quantised file.
        kind: int8 or fp8.
        samples: calibration samples.
        percentile: of the magnitudes at which inputs saturate; None for the abs-max.
        alpha: of SmoothQuant, None without it.
        rounding: largest share of its root mean square by which INT8 may round an input; None for any.
        blocks: transformer blocks, of which `wide_blocks` at either end were kept.
        bytes_before, bytes_after: of the graph with its weights.
        layers: by the names of their torch modules.
    """

    graph: str
    kind: str
    samples: int
    percentile: float | None
    alpha: float | None
    rounding: float | None
    blocks: int
    wide_blocks: int
    bytes_before: int
    bytes_after: int
    layers: dict[str, Layer]

    @property
    def quantised(self) -> list[str]:
        """Names of the layers in 8 bits."""
        return [name for name, layer in self.layers.items() if layer.quantised]

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        with written_whole(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        return (
            f"{self.graph}: {len(self.quantised)} of {len(self.layers)} linears in {self.kind},"
            f" {self.bytes_before / 1e6:.1f} -> {self.bytes_after / 1e6:.1f} MB"
            f" ({self.bytes_before / self.bytes_after:.1f} x), {self.samples} calibration samples"
        )
