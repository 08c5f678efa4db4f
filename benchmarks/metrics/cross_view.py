"""Do cameras that overlap show the same world? A geometric measure from the calibration, without any network.

For two cameras A and B the calibration says where a small patch of A must appear in B: on a curve, one point per depth.
Patches of A are compared with B along that curve (plane sweep: normalised correlation, the best depth counts) and, for
control, along the same curve shifted up and down in B, where nothing belongs. **Agreement is the correlation on the
true curve less that on the shifted ones**, mean over patches with texture. Unrelated views, noise and grey frames have
none by construction; learnt matchers find matches in noise.

**Cross-view consistency is the agreement of predicted frames over that of the real frames of the same clips**: 1 is as
consistent as reality, 0 as unrelated views. Losing texture counts against a prediction and gaining it does not count
for it: the mean is over the larger of both numbers of patches.

On the toy world (rig of nuScenes, 128x224): noise and grey frames 0.00, views of different clips 0.04, one of two views
moved down by 6 pixels 0.09, or 4 frames late 0.30, all blurred over 9 pixels 0.70, over 3 0.91, all 4 frames late 1.00.

Where views hardly overlap, or the real ones do not agree themselves (wrong calibration), it says so and gives no
number. nuScenes frames cropped to 3:2 hardly overlap; take 16:9 (for example 256x448). Cameras fire at different times:
with `ego_poses` each frame is placed at its own. What moves by itself is off all the same, in real frames as well.

Shape legend: N cameras, F observed frames, G predicted frames, H and h height, W and w width, X columns of A that B
sees, D depths, S samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.benchmarks.metrics.figure import MetricFigure, Protocol
from worldmodel.benchmarks.metrics.samples import SampleTable
from worldmodel.benchmarks.metrics.spread import bootstrap_of_ratio
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError
from worldmodel.pixels import refuse_other_than_8_bit

HEIGHT = 128  # that frames are brought to, so that patches cover the same part of the view for every method
WINDOW = 9  # pixels of a patch
STRIDE = 3  # pixels between patches
SHIFTS = (0, -WINDOW - 3, WINDOW + 3)  # of the curve in B, pixels; 0 is the true one
DEPTHS = 16  # evenly in 1 / depth, from infinity to NEAREST metres
NEAREST = 4.0
FEWEST_DEPTHS = 4  # that must lie inside B for a patch to count
TEXTURE = 6.0  # standard deviation of a patch, grey levels
NOISE = 2.0  # standard deviation that is no texture, grey levels
COARSE = 4  # pixels, to see whether views overlap at all
LEAST_OVERLAP = 0.02  # of A's pixels, at infinity
FEWEST_PATCHES = 200
LEAST_AGREEMENT = 0.2  # of the real frames
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Agreement:
    """Sum over patches of what the true curve agrees better than the shifted ones, and the number of patches."""

    total: float
    patches: int

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.total + other.total, self.patches + other.patches)


class CrossView(SampleTable):
    """Agreement of overlapping cameras in predicted over that in real frames; a sample is a clip of a whole rig."""

    def __init__(self, protocol: Protocol, every: int = 4, **options: Any) -> None:
        """Without clips yet.

        Args:
            protocol: frames, frame rate and clip list; the rest is filled in here.
            every: take every so many-th frame; neighbouring ones say the same.
        """
        super().__init__(width=4, **options)
        made_with = f"plane sweep of overlapping views, one frame in {every}"
        self.protocol = replace(protocol, extractor=made_with, resize=f"bilinear to {HEIGHT} rows", antialias=True)
        self.every = every

    def update(
        self, predicted_NGCHW: Shaped[Tensor, "N G 3 H W"], pair: PixelPair, sample: int, group: int | None = None
    ) -> None:
        """Add a clip of all cameras of a rig.

        Args:
            pair: the real clip, with calibration; its future frames are those that were predicted.
            sample: a number that this clip alone has. group: clips that the bootstrap draws together (the drive).

        Raises:
            InputError: a clip without calibration, of another shape than the prediction, or frames that are not 8-bit.
        """
        row_4 = self.measured(predicted_NGCHW, pair)
        self.add(row_4[None], torch.tensor([sample]), None if group is None else torch.tensor([group]))

    def measured(self, predicted_NGCHW: Shaped[Tensor, "N G 3 H W"], pair: PixelPair) -> Float64[Tensor, "4"]:
        """Of one clip what `add` takes: agreement and patches of the predicted frames, then of the real ones."""
        if pair.intrinsics is None or pair.extrinsics is None:
            raise InputError(f"{pair.scene}: cross-view consistency needs a calibration; leave this metric out")
        if predicted_NGCHW.shape != pair.future_NGCHW.shape:
            shapes = tuple(predicted_NGCHW.shape), tuple(pair.future_NGCHW.shape)
            raise InputError(f"{pair.scene}: predicted {shapes[0]}, true {shapes[1]}; give frames of one size")
        agreements = agreements_of_clip((predicted_NGCHW, pair.future_NGCHW), pair, self.every)
        values = [float(value) for agreement in agreements for value in (agreement.total, agreement.patches)]
        return torch.tensor(values, dtype=torch.float64)

    def compute(self) -> Float64[Tensor, ""]:
        """The ratio; NaN where it cannot be measured."""
        return torch.tensor(self.figure().value, dtype=torch.float64)

    def figure(self) -> MetricFigure:
        """The ratio with a bootstrap over groups; NaN with the reason where it cannot be measured."""
        _, groups_S, values_SV = self.table()
        total_S, patches_S, real_total_S, real_patches_S = values_SV.T
        figure = MetricFigure("cross-view consistency", float("nan"), "higher", self.protocol, len(values_SV))
        real = float(real_total_S.sum() / real_patches_S.sum().clamp(min=1))
        reason = _reason(int(real_patches_S.sum()), real)
        if reason:
            return replace(figure, remarks=(reason,))
        over_S = total_S * (real_patches_S / patches_S.clamp(min=1)).clamp(max=1)
        drawn = bootstrap_of_ratio(over_S, real_total_S, groups_S)
        remark = f"real frames agree by {real:.3f} over {int(real_patches_S.sum())} patches"
        figure = replace(figure, value=float(over_S.sum() / real_total_S.sum()), remarks=(remark,))
        if drawn is None:
            return figure
        return replace(figure, spread=drawn.error, spread_kind="bootstrap", interval=drawn.interval)


def _reason(patches: int, real: float) -> str:
    if patches < FEWEST_PATCHES:
        return f"views overlap in {patches} patches only, {FEWEST_PATCHES} are needed: use wider frames or more clips"
    if real < LEAST_AGREEMENT:
        return f"the real views agree by {real:.3f} only, {LEAST_AGREEMENT} are needed: check calibration and times"
    return ""


def agreements_of_clip(
    videos: Sequence[Shaped[Tensor, "N G 3 H W"]], pair: PixelPair, every: int = 1
) -> list[Agreement]:
    """Of all overlapping cameras, in every `every`-th frame of each video; all are of the future frames of `pair`.

    Raises:
        InputError: frames that are not 8-bit.
    """
    refuse_other_than_8_bit("cross-view consistency", *videos)
    assert pair.intrinsics is not None
    scale = min(1.0, HEIGHT / videos[0].shape[3])
    grey = [_grey(frames_NGCHW[:, ::every], scale) for frames_NGCHW in videos]
    intrinsics = [scale_intrinsics(matrix, scale) for matrix in pair.intrinsics]
    cameras, steps, *size = grey[0].shape
    observed, agreements = pair.observed_NFCHW.shape[1], [Agreement(0.0, 0) for _ in grey]
    for a, b in combinations(range(cameras), 2):
        for step in range(steps):
            b_from_a = relative_pose(pair, a, b, observed + step * every)
            sweep = sweep_of(intrinsics[a], intrinsics[b], b_from_a, (size[0], size[1]))
            if sweep is None:
                break  # these cameras do not overlap
            agreements = [
                sum_ + agreement(each_NGHW[a, step], each_NGHW[b, step], *sweep)
                for sum_, each_NGHW in zip(agreements, grey, strict=True)
            ]
    return agreements


def relative_pose(pair: PixelPair, a: int, b: int, frame: int) -> Float64[np.ndarray, "4 4"]:
    """Points of camera `a` into camera `b`, each at its own time; `frame` counts from the first observed one."""
    assert pair.extrinsics is not None
    a_to, b_to = pair.extrinsics[a], pair.extrinsics[b]
    if pair.ego_poses is not None:
        a_to, b_to = pair.ego_poses[a, frame] @ a_to, pair.ego_poses[b, frame] @ b_to
    return np.linalg.inv(b_to) @ a_to


def scale_intrinsics(matrix: Float64[np.ndarray, "3 3"], scale: float) -> Float64[np.ndarray, "3 3"]:
    """Of a picture that was resized by `scale`, pixel centres at whole numbers."""
    to_corner = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(to_corner) @ np.diag([scale, scale, 1.0]) @ to_corner @ matrix


def sweep_of(
    intrinsic_a: Float64[np.ndarray, "3 3"],
    intrinsic_b: Float64[np.ndarray, "3 3"],
    b_from_a: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "D H X 2"], slice] | None:
    """Where A's pixels lie in B (column, row) at each depth, NaN behind B; and the columns of A that B sees.

    None where less than 2 % of A lies in B at infinity.
    """
    height, width = size
    to_b = intrinsic_b @ b_from_a[:3, :3] @ np.linalg.inv(intrinsic_a), intrinsic_b @ b_from_a[:3, 3]
    coarse_DHX2 = _places(*to_b, np.arange(0, height, COARSE), np.arange(0, width, COARSE))
    inside_DHX = _inside(coarse_DHX2, size)
    if float(inside_DHX[0].float().mean()) < LEAST_OVERLAP:
        return None
    seen = torch.nonzero(inside_DHX.any(dim=0).any(dim=0))[:, 0] * COARSE
    columns = slice(max(0, int(seen[0]) - WINDOW), min(width, int(seen[-1]) + COARSE + WINDOW))
    return _places(*to_b, np.arange(height), np.arange(width)[columns]), columns


def _places(
    turn: Float64[np.ndarray, "3 3"], shift: Float64[np.ndarray, "3"], rows: np.ndarray, columns: np.ndarray
) -> Float[Tensor, "D H X 2"]:
    pixels_HX3 = np.stack([*np.meshgrid(columns, rows), np.ones((len(rows), len(columns)))], axis=-1)
    inverse_depths_D = np.linspace(0.0, 1 / NEAREST, DEPTHS)
    points_DHX3 = pixels_HX3 @ turn.T + inverse_depths_D[:, None, None, None] * shift
    depths_DHX1 = np.where(points_DHX3[..., 2:] > 1e-6, points_DHX3[..., 2:], np.nan)
    return torch.from_numpy(points_DHX3[..., :2] / depths_DHX1).float()


def agreement(
    a_HW: Float[Tensor, "H W"], b_HW: Float[Tensor, "H W"], places_DHX2: Float[Tensor, "D H X 2"], columns: slice
) -> Agreement:
    """Of two grey frames."""
    a_HX = a_HW[:, columns]
    shifts = torch.tensor(SHIFTS, dtype=torch.float32)
    shifted = [places_DHX2 + torch.stack([torch.zeros(()), shift]) for shift in shifts]
    usable_DHX = torch.stack([_inside(places, tuple(b_HW.shape)) for places in shifted]).all(dim=0)
    counts_HX = (usable_DHX.sum(dim=0) >= FEWEST_DEPTHS) & (_variance(a_HX) > TEXTURE**2) & _grid(a_HX)
    if not bool(counts_HX.any()):
        return Agreement(0.0, 0)
    best = []
    for places in shifted:
        fit_DHX = _correlation(a_HX, _sampled(b_HW, places)).masked_fill(~usable_DHX, -1.0)
        best.append(fit_DHX.amax(dim=0)[counts_HX])
    excess = best[0] - torch.stack(best[1:]).mean(dim=0)
    return Agreement(float(excess.double().sum()), int(counts_HX.sum()))


def _grey(frames_NGCHW: UInt8[Tensor, "N G 3 H W"], scale: float) -> Float[Tensor, "N G h w"]:
    grey_NGHW = torch.einsum("ngchw,c->nghw", frames_NGCHW.cpu().float(), torch.tensor(LUMA))
    size = [round(length * scale) for length in grey_NGHW.shape[2:]]
    return grey_NGHW if scale == 1 else functional.interpolate(grey_NGHW, size, mode="bilinear", antialias=True)


def _inside(places_DHW2: Float[Tensor, "D H W 2"], size: tuple[int, ...]) -> Bool[Tensor, "D H W"]:
    """Where a whole patch lies in a picture of (height, width)."""
    margin = WINDOW // 2 + 1
    most = torch.tensor([size[1], size[0]]) - 1 - margin
    return ((places_DHW2 >= margin) & (places_DHW2 <= most)).all(dim=-1)


def _grid(a_HX: Float[Tensor, "H X"]) -> Bool[Tensor, "H X"]:
    """Every third pixel whose patch lies in the picture."""
    chosen = torch.zeros(a_HX.shape, dtype=torch.bool)
    edge = WINDOW // 2
    chosen[edge : a_HX.shape[0] - edge : STRIDE, edge : a_HX.shape[1] - edge : STRIDE] = True
    return chosen


def _sampled(b_HW: Float[Tensor, "H W"], places_DHX2: Float[Tensor, "D H X 2"]) -> Float[Tensor, "D H X"]:
    height, width = b_HW.shape
    spans = torch.tensor([width - 1, height - 1])
    grid = (2 * places_DHX2.nan_to_num(-1e4) / spans - 1).clamp(-10, 10)
    every_depth = b_HW.expand(len(grid), 1, height, width)
    return functional.grid_sample(every_depth, grid, align_corners=True)[:, 0]


def _correlation(a_HX: Float[Tensor, "H X"], b_DHX: Float[Tensor, "D H X"]) -> Float[Tensor, "D H X"]:
    """Of the patches around each pixel; a patch without texture correlates with nothing."""
    a_1HX = a_HX[None]
    joint_DHX = _local_mean(a_1HX * b_DHX) - _local_mean(a_1HX) * _local_mean(b_DHX)
    return joint_DHX / ((_variance(a_HX) + NOISE**2) * (_variance(b_DHX) + NOISE**2)).sqrt()


def _variance(images: Float[Tensor, "*D H W"]) -> Float[Tensor, "*D H W"]:
    return (_local_mean(images.square()) - _local_mean(images).square()).clamp(min=0)


def _local_mean(images: Float[Tensor, "*D H W"]) -> Float[Tensor, "*D H W"]:
    flat = images.reshape(-1, 1, *images.shape[-2:])
    return functional.avg_pool2d(flat, WINDOW, 1, WINDOW // 2).reshape(images.shape)
