"""What the fields of a manifest hold: the checkpoint, precisions, step loops, parts with their ports, the self-test.

Only the standard library is used here. Shape legend: as in `manifest`.
"""

from dataclasses import dataclass
from typing import Literal

PrecisionName = Literal["fp32", "fp16", "bf16", "int8", "fp8"]


@dataclass(frozen=True)
class Checkpoint:
    """What was exported: its name and the sha256 of its transformer, its VAE and the prompts baked in."""

    name: str
    transformer_sha256: str
    vae_sha256: str
    prompt_sha256: str


@dataclass(frozen=True)
class Precision:
    """In which numbers each part computes; its interface stays uint8 and float32."""

    encoder: PrecisionName
    step: PrecisionName
    decoder: PrecisionName


@dataclass(frozen=True)
class Schedule:
    """The loop of N steps as in the module's formula.

    Attributes:
        sigmas: [N], where the step is evaluated.
        source: [N], the coefficient of the source after each step.
        velocity: N rows; row i has the i + 1 coefficients of the velocities so far.
    """

    sigmas: tuple[float, ...]
    source: tuple[float, ...]
    velocity: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Port:
    """An input or output of a part: numpy's name of its dtype, and its shape, where a free axis is a name ("B")."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Part:
    """One ONNX file (its weights may lie beside it in `<file>.data`) with its inputs and outputs in their order."""

    file: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class SelfTest:
    """What the artifact predicted where it was made, from frames that follow from a seed.

    Attributes:
        seed: of the frames, see `worldmodel.export.runtime.self_test.observed_frames`.
        steps: of the prediction.
        sha256: of its uint8 pixels [B, F, H, W, 3] by ONNX Runtime on a CPU; another machine may round differently.
        thumbnail: base64 of uint8 [B, F, 4, 4, 3], the means of 4 x 4 blocks of each frame.
        tolerance: largest difference of a thumbnail, in levels of 255, that passes.
    """

    seed: int
    steps: int
    sha256: str
    thumbnail: str
    tolerance: float
