"""A number that cannot be printed bare: its value, its spread, and everything that it was made with."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """What a figure depends on besides the frames; figures of different protocols must not be compared.

    Attributes:
        extractor: name of the network that makes features, or of the formula (`psnr`).
        sha256: of the extractor's weight file; empty for formulas.
        width: number of features; 0 for formulas.
        resize: how frames become the extractor's size, in words, for example ``tf1 bilinear to 299x299``.
        antialias: whether that resizing averages over the pixels that it skips.
        preprocessing: how the clips' frames were read, for example ``128x192 area``.
        frames: how many frames of each clip count; the observed ones never do.
        frame_rate: of the clips, frames a second; 0 where it is not known.
        clips: the clip list with its version, for example ``vista-val@2``; clips_sha256: its hash.
        dtype: that the extractor computes in. Sums and distances are float64 always.
        covariance: divisor, ``1/(N-1)`` or empty where there is none.
    """

    extractor: str
    sha256: str = ""
    width: int = 0
    resize: str = "none"
    antialias: bool = False
    preprocessing: str = ""
    frames: int = 0
    frame_rate: float = 0.0
    clips: str = ""
    clips_sha256: str = ""
    dtype: str = "float32"
    covariance: str = ""

    def hash(self) -> str:
        """sha256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def line(self) -> str:
        """One line for people."""
        parts = [self.extractor, f"sha {self.sha256[:8]}" if self.sha256 else ""]
        parts += [f"width {self.width}" if self.width else "", "" if self.resize == "none" else self.resize]
        parts += ["antialiased" if self.antialias else "", f"{self.frames} f" if self.frames else ""]
        parts += [f"{self.frame_rate:g} Hz" if self.frame_rate else "", self.clips, self.dtype]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class MetricFigure:
    """One result of one metric.

    Attributes:
        name: with what must not be left out, for example ``FID-64`` or ``FVD[styleganv-i3d]``.
        value: NaN where it could not be measured; `remarks` then says why.
        unit: ``dB`` or empty.
        better: ``lower``, ``higher``, or ``one`` (the nearer to 1 the better) and ``zero``.
        spread: standard error; None where it is not known. spread_kind: how it was had.
        interval: 95 % interval, where the bootstrap gives one.
        jackknife: the value with its bias by the number of clips taken away; None without groups.
        floor: what two equally large samples of the real clips would score; smaller gaps are noise.
        clips: how many samples (clips of one camera) it is the figure of; rows: feature vectors in all.
        protocol: what it was made with.
        remarks: what a reader must know; one sentence each.
    """

    name: str
    value: float
    better: str
    protocol: Protocol
    clips: int
    unit: str = ""
    rows: int = 0
    spread: float | None = None
    spread_kind: str = ""
    interval: tuple[float, float] | None = None
    jackknife: float | None = None
    floor: float | None = None
    remarks: tuple[str, ...] = field(default=())

    def line(self) -> str:
        """`FVD[..] 98.5 (± 6 jackknife, corrected 84, floor 24, N=2000, extractor, ...)`, for people."""
        parts = [f"± {self.spread:.3g} {self.spread_kind}" if self.spread is not None else ""]
        parts += [f"corrected {self.jackknife:.4g}" if self.jackknife is not None else ""]
        parts += [f"floor {self.floor:.3g}" if self.floor is not None else "", f"N={self.clips}", self.protocol.line()]
        value = "not measured" if math.isnan(self.value) else f"{self.value:.4g}{f' {self.unit}' if self.unit else ''}"
        return f"{self.name} {value} ({', '.join(part for part in parts if part)})"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all fields, with `protocol_sha256`; NaN becomes None."""
        values = asdict(self) | {"protocol_sha256": self.protocol.hash()}
        return values | {"value": None if math.isnan(self.value) else self.value}
