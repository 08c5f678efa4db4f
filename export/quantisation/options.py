"""What is chosen when a graph goes to 8 bits."""

from dataclasses import dataclass

from worldmodel.errors import InputError


@dataclass(frozen=True)
class QuantisationOptions:
    """Which linears keep their type, and how the scales of the others are found.

    Attributes:
        keep: further linears that stay as they are, by name, with * and ? as in file names.
        alpha: strength of SmoothQuant, 0 to 1; None leaves it out.
        percentile: of the magnitudes of each input at which it saturates, such as 99.99; None for the largest.
        rounding: linears whose input INT8 would round by a larger share of its root mean square than this stay as
            they are; such inputs have a few values far above all others. None keeps none; FP8 has steps that grow with
            the values, and no such linears.

    Raises:
        InputError: a value out of range.
    """

    keep: tuple[str, ...] = ()
    alpha: float | None = None
    percentile: float | None = None
    rounding: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise InputError(
                f"smoothing={self.alpha}: use a number from 0 (all in the activations) to 1 (all in the weights)"
            )
        if self.percentile is not None and not 0 < self.percentile <= 100:
            raise InputError(f"percentile={self.percentile}: use a number up to 100, such as 99.99, or leave it out")
        if self.rounding is not None and not self.rounding > 0:
            raise InputError(f"rounding={self.rounding}: use a share above 0, such as 0.02, or leave it out")


PLAIN = QuantisationOptions()
"""Nothing more is kept, nothing is smoothed, and inputs saturate at their largest magnitude."""
