"""How far two answers are apart, and how far they may be.

Shape legend: as in `reference`.
"""

import math
from dataclasses import dataclass

import numpy as np

from worldmodel.export.runtime.manifest import Manifest


@dataclass(frozen=True)
class Allowed:
    """What a precision is allowed, against float32.

    Attributes:
        once: relative L2 of one evaluation of a network: latents, or a velocity.
        after: relative L2 of latents after all steps.
        frames: PSNR in dB of decoded frames, at least.
    """

    once: float
    after: float
    frames: float


ALLOWED = {
    "fp32": Allowed(1e-5, 1e-5, 60.0),
    "fp16": Allowed(2e-3, 5e-3, 40.0),
    "bf16": Allowed(2e-2, 5e-2, 30.0),
    "int8": Allowed(3e-2, 3e-2, 30.0),
    "fp8": Allowed(3e-2, 3e-2, 30.0),
}


@dataclass(frozen=True)
class Comparison:
    """One thing compared, over all clips.

    Attributes:
        part: encoder, step, decoder, "steps" for all of them from the pipeline's source, "prediction" from frames to
            frames, or "single" for the same in one file.
        what: latents, velocity or frames.
        steps: of the prediction that it belongs to, None where there is none.
        relative: relative L2 difference of latents or velocities, of all evaluations taken together, so that it does
            not grow with their number; None for frames.
        worst: the same of a single evaluation, the largest.
        largest: largest difference of an element: latents, or levels of 255.
        psnr: of frames in dB, the worst; None for latents, and for frames that are equal.
        limit: of `relative` from above, or of `psnr` from below.
    """

    part: str
    what: str
    precision: str
    steps: int | None
    relative: float | None
    worst: float | None
    largest: float
    psnr: float | None
    limit: float

    @property
    def passed(self) -> bool:
        """Within the limit; a NaN is not."""
        if self.what != "frames":
            return self.relative is not None and self.relative <= self.limit
        return self.largest == 0 if self.psnr is None else self.psnr >= self.limit

    def __str__(self) -> str:
        steps = f" after {self.steps} steps" if self.steps else ""
        if self.what == "frames":
            return f"{self.part} frames{steps}: {shown_psnr(self)} dB, at least {self.limit:g} allowed"
        return f"{self.part} {self.what}{steps}: relative difference {self.relative:.1e}, {self.limit:.1e} allowed"


def shown_psnr(comparison: Comparison) -> str:
    """PSNR for people."""
    return "equal" if comparison.psnr is None else f"{comparison.psnr:.1f}"


def guidance_factor(scale: float) -> float:
    """By how much guidance widens the error of a velocity: s * a - (s - 1) * b of two evaluations with errors of their
    own has sqrt(s^2 + (s - 1)^2) times the error of one."""
    return math.hypot(scale, scale - 1) if scale > 1 else 1.0


def compared_latents(
    manifest: Manifest,
    part: str,
    what: str,
    steps: int | None,
    answers: list[np.ndarray],
    expected: list[np.ndarray],
) -> Comparison:
    """Latents or velocities, as pairs of arrays."""
    precision = manifest.precision.encoder if part == "encoder" else manifest.precision.step
    allowed = ALLOWED[precision]
    limit = allowed.after if part == "steps" else allowed.once
    if part != "encoder":
        limit *= guidance_factor(manifest.guidance)
    off, size = norms([answer - wanted for answer, wanted in zip(answers, expected, strict=True)]), norms(expected)
    relative = float(np.linalg.norm(off) / np.linalg.norm(size))
    largest = np.max([np.abs(answer - wanted).max() for answer, wanted in zip(answers, expected, strict=True)])
    return Comparison(part, what, precision, steps, relative, float(np.max(off / size)), float(largest), None, limit)


def norms(arrays: list[np.ndarray]) -> np.ndarray:
    """L2 norm of each."""
    return np.array([np.linalg.norm(array.astype(np.float64)) for array in arrays])


def compared_frames(
    manifest: Manifest, part: str, steps: int, answers: list[np.ndarray], expected: list[np.ndarray]
) -> Comparison:
    """uint8 frames; a prediction is allowed what its least exact part is."""
    own = manifest.precision
    parts = [own.decoder] if part == "decoder" else [own.encoder, own.step, own.decoder]
    least = min(parts, key=lambda precision: ALLOWED[precision].frames)
    off = [answer.astype(np.int16) - wanted for answer, wanted in zip(answers, expected, strict=True)]
    worst = max(float(np.square(levels, dtype=np.float64).mean()) for levels in off)
    psnr = 10 * math.log10(255**2 / worst) if worst else None
    largest = max(float(np.abs(levels).max()) for levels in off)
    return Comparison(part, "frames", least, steps, None, None, largest, psnr, ALLOWED[least].frames)
