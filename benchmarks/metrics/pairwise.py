"""Scores of a predicted frame against the true one: per clip, camera and step of the horizon.

Formulas without weights: PSNR and SSIM (`worldmodel.measure.frame_scores`), and what a long rollout loses first:
sharpness and brightness. LPIPS needs the weights of its trunk (`lpips.load_lpips`).

Shape legend: B samples (clips of one camera) of a batch, S all samples, G predicted frames, H height, W width.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped, UInt8
from torch import Tensor

from worldmodel.benchmarks.metrics.figure import MetricFigure, Protocol
from worldmodel.benchmarks.metrics.lpips import LPIPS
from worldmodel.benchmarks.metrics.samples import SampleTable
from worldmodel.benchmarks.metrics.spread import bootstrap_of_mean
from worldmodel.errors import InputError
from worldmodel.measure.frame_scores import EQUAL_DB, psnr_per_frame
from worldmodel.pixels import refuse_other_than_8_bit

Frames = UInt8[Tensor, "B G 3 H W"]


@dataclass(frozen=True)
class Curve:
    """Means over clips at each step of the horizon, and their standard errors; None where there is one group only."""

    name: str
    values: tuple[float, ...]
    spreads: tuple[float, ...] | None


class PairwiseScore(SampleTable):
    """A score per predicted frame. A new one writes `of_frames` and its four attributes.

    Attributes:
        title, unit: for printing. better: as in `MetricFigure`.
    """

    title: str
    unit = ""
    better: str

    def __init__(self, protocol: Protocol, cameras: Sequence[str] = ("all",), **options: Any) -> None:
        """Without clips yet.

        Args:
            protocol: frames (how many are predicted), frame rate and clip list; the rest is filled in here.
            cameras: names that `update` counts with.
        """
        super().__init__(width=1 + protocol.frames, **options)
        made_with = self.made_with()
        self.cameras = tuple(cameras)
        self.protocol = replace(protocol, extractor=made_with.extractor, sha256=made_with.sha256, dtype=made_with.dtype)

    def made_with(self) -> Protocol:
        """Which formula or network, with its hash."""
        return Protocol(self.title.lower(), dtype="float64")

    @abstractmethod
    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """The formula: a score of each frame."""

    def score(
        self, predicted_BGCHW: Shaped[Tensor, "B G 3 H W"], truth_BGCHW: Shaped[Tensor, "B G 3 H W"]
    ) -> Float[Tensor, "B G"]:
        """Of each frame; raises `InputError` for frames that are not 8-bit."""
        refuse_other_than_8_bit(self.title, predicted_BGCHW, truth_BGCHW)
        return self.of_frames(predicted_BGCHW, truth_BGCHW)

    def update(
        self,
        predicted_BGCHW: Shaped[Tensor, "B G 3 H W"],
        truth_BGCHW: Shaped[Tensor, "B T 3 h w"],
        samples_B: Int64[Tensor, " B"],
        cameras_B: Int64[Tensor, " B"] | None = None,
        groups_B: Int64[Tensor, " B"] | None = None,
    ) -> None:
        """Score some clips, 8-bit frames.

        Args:
            samples_B: a number that this clip of this camera alone has.
            cameras_B: place of its camera in `cameras`; default: the first.
            groups_B: clips that the bootstrap draws together (the number of the drive); default: each alone.

        Raises:
            InputError: prediction and truth differ in shape, are not 8-bit, or have another number of frames than the
                protocol says.
        """
        shape, wanted = tuple(predicted_BGCHW.shape), tuple(truth_BGCHW.shape)
        if shape != wanted or shape[1] != self.protocol.frames:
            raise InputError(f"{self.title}: predicted {shape}, true {wanted}, {self.protocol.frames} frames expected")
        scores_BG = self.score(predicted_BGCHW, truth_BGCHW).double().cpu()
        cameras = torch.zeros(len(scores_BG), 1) if cameras_B is None else cameras_B.cpu()[:, None]
        self.add(torch.cat([cameras.double(), scores_BG], dim=1), samples_B, groups_B)

    def compute(self) -> Float64[Tensor, ""]:
        """The mean over frames and clips."""
        return self.scores()[1].mean()

    def scores(self) -> tuple[Int64[Tensor, " S"], Float64[Tensor, "S G"]]:
        """Sample numbers and scores by frame of all clips, for curves and for finding the best and worst."""
        numbers_S, _, values_SV = self.table()
        return numbers_S, values_SV[:, 1:]

    def figure(self) -> MetricFigure:
        """The mean over all clips, cameras and frames, with a bootstrap over groups."""
        _, groups_S, values_SV = self.table()
        return self._figure(self.title, values_SV[:, 1:].mean(1), groups_S)

    def by_camera(self) -> dict[str, MetricFigure]:
        """The same for each camera that has clips."""
        _, groups_S, values_SV = self.table()
        figures = {}
        for number, camera in enumerate(self.cameras):
            its_S = values_SV[:, 0] == number
            if bool(its_S.any()):
                name = f"{self.title}[{camera}]"
                figures[camera] = self._figure(name, values_SV[its_S, 1:].mean(1), groups_S[its_S])
        return figures

    def by_frame(self) -> Curve:
        """The mean over clips and cameras at each step of the horizon."""
        _, groups_S, values_SV = self.table()
        columns = values_SV[:, 1:].T
        drawn = [bootstrap_of_mean(column, groups_S) for column in columns]
        spreads = tuple(spread.error for spread in drawn if spread is not None)
        return Curve(self.title, tuple(columns.mean(1).tolist()), spreads if len(spreads) == len(columns) else None)

    def _figure(self, name: str, values_S: Float64[Tensor, " S"], groups_S: Int64[Tensor, " S"]) -> MetricFigure:
        drawn, clips = bootstrap_of_mean(values_S, groups_S), len(values_S)
        figure = MetricFigure(name, float(values_S.mean()), self.better, self.protocol, clips, self.unit)
        if drawn is None:
            return figure
        return replace(figure, spread=drawn.error, spread_kind="bootstrap", interval=drawn.interval)


class PSNR(PairwiseScore):
    """Peak signal-to-noise ratio; an exactly equal frame counts as 100 dB, so that means stay finite."""

    title, unit, better = "PSNR", "dB", "higher"

    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """10 log10(255^2 / MSE)."""
        values_BG = psnr_per_frame(predicted_BGCHW.cpu(), truth_BGCHW.cpu())
        return torch.from_numpy(np.minimum(values_BG, EQUAL_DB))


class SSIM(PairwiseScore):
    """Structural similarity of RGB by torchmetrics, a Gaussian window of 11: `worldmodel.measure.frame_scores`."""

    title, better = "SSIM", "higher"

    def made_with(self) -> Protocol:
        """torchmetrics' formula, in float32."""
        return Protocol("ssim, Gaussian window of 11, RGB")

    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """1 for equal frames. On the frames' device; one frame at a time on a CPU, where more are no faster."""
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        at_once = 1 if predicted_BGCHW.device.type == "cpu" else 64
        pairs = zip(*(frames.flatten(0, 1).split(at_once) for frames in (predicted_BGCHW, truth_BGCHW)), strict=True)
        scores = [ssim(predicted / 255, truth / 255, data_range=1.0, reduction="none") for predicted, truth in pairs]
        return torch.cat([frames.flatten() for frames in scores]).view(predicted_BGCHW.shape[:2])


class Perceptual(PairwiseScore):
    """LPIPS."""

    title, better = "LPIPS", "lower"

    def __init__(self, network: LPIPS, protocol: Protocol, cameras: Sequence[str] = ("all",), **options: Any) -> None:
        """As `PairwiseScore`, on a loaded network."""
        self._network = [network]  # in a list: not a module of this metric
        self.title = f"LPIPS[{network.net}]"
        super().__init__(protocol, cameras, **options)

    def made_with(self) -> Protocol:
        """Trunk, heads and the trunk's hash."""
        return self._network[0].made_with

    @torch.no_grad()
    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """0 for equal frames. A clip at a time."""
        network = self._network[0]
        device = next(network.parameters()).device
        pairs = zip(predicted_BGCHW.to(device), truth_BGCHW.to(device), strict=True)
        return torch.stack([network(one_GCHW, other_GCHW) for one_GCHW, other_GCHW in pairs])


class Sharpness(PairwiseScore):
    """Mean absolute difference of neighbouring pixels over the truth's: 1 is as sharp, below is blurred."""

    title, better = "sharpness", "one"

    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """Ratio; a truth without any edge counts as one of 0.01 grey levels."""
        return edges(predicted_BGCHW) / edges(truth_BGCHW).clamp(min=0.01)


class Brightness(PairwiseScore):
    """Mean pixel less the truth's, in grey levels of 255: drifts away from 0 in autoregressive rollouts."""

    title, unit, better = "brightness", "/255", "zero"

    def of_frames(self, predicted_BGCHW: Frames, truth_BGCHW: Frames) -> Float[Tensor, "B G"]:
        """Difference."""
        return predicted_BGCHW.double().mean(dim=(2, 3, 4)) - truth_BGCHW.double().mean(dim=(2, 3, 4))


def edges(frames_BGCHW: Frames) -> Float64[Tensor, "B G"]:
    """Mean absolute difference of pixels that lie side by side or above each other."""
    values = frames_BGCHW.double()
    return (values.diff(dim=-1).abs().mean(dim=(2, 3, 4)) + values.diff(dim=-2).abs().mean(dim=(2, 3, 4))) / 2
