"""All Fréchet distances of one extractor: frames in, one figure per feature width out.

distances = ExtractorDistances(load_inception(), frames=17, frame_rate=12, clips="vista-val@1", clips_sha256=...)
distances.update(future, real=True, samples_B=numbers)
distances.update(predicted, real=False, samples_B=numbers)
for figure in distances.figures(): print(figure.line())

Shape legend: B samples of a batch, F frames, H height, W width.
"""

from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.extractor import Extractor
from worldmodel.benchmarks.metrics.figure import Figure
from worldmodel.benchmarks.metrics.statistics import load_reference


class ExtractorDistances(nn.Module):
    """The extractor runs once for all widths; observed frames are never given to it.

    Attributes:
        needs_real: False where saved statistics of the real clips were found, so that they need no pass.
    """

    def __init__(
        self,
        extractor: Extractor,
        frames: int,
        frame_rate: float = 0.0,
        clips: str = "",
        clips_sha256: str = "",
        keep_features: bool = True,
        references: Path | None = None,
    ) -> None:
        """Without clips yet.

        Args:
            frames: of a prediction. clips, clips_sha256: the clip list and its hash.
            keep_features: as `FrechetDistance`.
            references: folder of saved statistics of real clips.

        Raises:
            InputError: the extractor cannot take so many frames.
        """
        super().__init__()
        self.extractor, self.metrics = extractor, nn.ModuleDict()
        for width in extractor.widths:
            protocol = extractor.protocol(width, frames, frame_rate, clips, clips_sha256)
            reference = load_reference(references, protocol) if references is not None and clips_sha256 else None
            self.metrics[str(width)] = FrechetDistance(
                extractor.title_of(width), protocol, extractor.rows(frames), keep_features, reference
            )
        self.needs_real = any(metric.reference is None for metric in self._metrics())

    def update(
        self,
        frames_BFCHW: UInt8[Tensor, "B F 3 H W"],
        real: bool,
        samples_B: Int64[Tensor, " B"],
        groups_B: Int64[Tensor, " B"] | None = None,
    ) -> None:
        """Extract and add predicted or real frames of some clips; the rest as `FrechetDistance.update`."""
        features = self.extractor(frames_BFCHW)
        for metric in self._metrics():
            if not real or metric.reference is None:
                metric.update(features[metric.protocol.width], real, samples_B, groups_B)

    def figures(self) -> tuple[Figure, ...]:
        """One per width; the same on every process."""
        return tuple(metric.figure() for metric in self._metrics())

    def save_references(self, folder: Path) -> list[Path]:
        """Save what the real clips gave, for the next method on the same clip list.

        To be called on every process: each helps to add up, the first one writes. Returns the files.
        """
        sets = [(metric.real_set(), metric.protocol) for metric in self._metrics() if metric.reference is None]
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
            return []
        return [features.save(folder, protocol) for features, protocol in sets]

    def _metrics(self) -> list[FrechetDistance]:
        return list(self.metrics.values())  # type: ignore[arg-type]
