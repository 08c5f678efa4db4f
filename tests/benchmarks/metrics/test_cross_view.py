"""Cross-view consistency in a world whose every view is known: a patterned sphere around the vehicle.

Shape legend: N cameras, F frames, H height, W width.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from worldmodel.benchmarks.metrics.cross_view import (
    WINDOW,
    CrossView,
    agreements_of_clip,
    relative_pose,
    scale_intrinsics,
    sweep_of,
)
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError

SIZE, RADIUS, FRAMES = (96, 160), 15.0, 2
CAMERAS = ("LEFT", "MIDDLE", "RIGHT")
PROTOCOL = Protocol("", frames=FRAMES, clips="list@1")
INTRINSIC = np.array([[110.0, 0, 79.5], [0, 110.0, 47.5], [0, 0, 1]])  # 72 degrees wide


def camera_pose(yaw_degrees: float) -> np.ndarray:
    """Camera to ego vehicle: half a metre out, looking out; camera axes right, down, forward."""
    yaw = math.radians(yaw_degrees)
    forward = np.array([math.cos(yaw), math.sin(yaw), 0])
    down = np.array([0.0, 0, -1])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(down, forward), down, forward], axis=1)
    pose[:3, 3] = 0.5 * forward
    return pose


def pattern(points: np.ndarray, seed: int) -> np.ndarray:
    """Grey levels of points in space: waves of half a metre to two metres."""
    random = np.random.default_rng(seed)
    ways = random.standard_normal((40, 3))
    waves = ways / np.linalg.norm(ways, axis=1, keepdims=True) * random.uniform(3, 9, (40, 1))
    total = np.sin(points @ waves.T + random.uniform(0, 6.3, 40)).sum(axis=-1)
    return np.clip(128 + 25 * total, 0, 255)


def view(camera_to_world: np.ndarray, seed: int) -> np.ndarray:
    """What a camera inside the sphere sees, [3, H, W] uint8."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    rays = np.stack([columns, rows, np.ones(SIZE)], axis=-1) @ np.linalg.inv(INTRINSIC).T @ camera_to_world[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    centre = camera_to_world[:3, 3]
    along = rays @ centre
    distance = -along + np.sqrt(along**2 + RADIUS**2 - centre @ centre)
    return np.repeat(pattern(centre + distance[..., None] * rays, seed)[None], 3, axis=0).round().astype(np.uint8)


def clip(seed: int, late: float = 0.1) -> PixelPair:
    """A vehicle that turns while its cameras fire one after the other: `late` seconds apart, 30 degrees a second."""
    extrinsics = np.stack([camera_pose(yaw) for yaw in (50, 0, -50)])
    times = np.arange(FRAMES + 1)[None] / 12 + late * np.arange(len(CAMERAS))[:, None]
    egos = np.tile(np.eye(4), (len(CAMERAS), FRAMES + 1, 1, 1))
    for place, time in np.ndenumerate(times):
        turned = math.radians(30) * time
        egos[place][:2, :2] = [[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]]
    rows = [[view(ego @ extrinsic, seed) for ego in row] for extrinsic, row in zip(extrinsics, egos, strict=True)]
    frames = np.stack(rows)
    video = torch.from_numpy(frames)
    return PixelPair(
        "drive", CAMERAS, video[:, :1], video[:, 1:], times, 12.0, np.tile(INTRINSIC, (3, 1, 1)), extrinsics, egos
    )  # fmt: skip


@pytest.fixture(scope="module")
def clips() -> list[PixelPair]:
    return [clip(seed) for seed in range(3)]


def consistency(clips: list[PixelPair], change) -> float:
    metric = CrossView(PROTOCOL, every=1)
    for number, pair in enumerate(clips):
        metric.update(change(pair.future_NGCHW), pair, number)
    return metric.figure().value


def blurred(video: torch.Tensor) -> torch.Tensor:
    flat = functional.avg_pool2d(video.flatten(0, 1).float(), 25, 1, 12, count_include_pad=False)
    return flat.view(video.shape).to(torch.uint8)


def middle_moved(rows: int = 0, columns: int = 0):
    def change(video: torch.Tensor) -> torch.Tensor:
        video = video.clone()
        video[1] = video[1].roll((rows, columns), (-2, -1))
        return video

    return change


def test_real_views_agree_and_others_do_not(clips: list[PixelPair]) -> None:
    noise = torch.Generator().manual_seed(0)
    found = {
        "real": consistency(clips, lambda video: video),
        "noise": consistency(clips, lambda video: torch.randint(0, 256, video.shape, generator=noise).to(torch.uint8)),
        "grey": consistency(clips, lambda video: torch.full_like(video, 128)),
        "another world": consistency(clips, lambda video: torch.stack([video[0], clip(99).future_NGCHW[1], video[2]])),
        "moved down": consistency(clips, middle_moved(rows=10)),
        "moved far aside": consistency(clips, middle_moved(columns=60)),
    }
    print("\n", {name: round(value, 3) for name, value in found.items()})
    assert found["real"] == 1.0
    assert abs(found["noise"]) < 0.05 and found["grey"] == 0.0
    assert abs(found["another world"]) < 0.15 and found["moved down"] < 0.3 and found["moved far aside"] < 0.3


def test_losing_texture_counts_and_adding_it_does_not_help(clips: list[PixelPair]) -> None:
    noise = torch.randn(clips[0].future_NGCHW.shape, generator=torch.Generator().manual_seed(0))
    assert consistency(clips, blurred) < 0.6
    assert consistency(clips, lambda video: (video + 100 * noise).clamp(0, 255).to(torch.uint8)) < 0.7


def test_each_frame_stands_at_its_own_time(clips: list[PixelPair]) -> None:
    """Cameras a tenth of a second apart in a turning vehicle: without poses the real views do not fit."""
    (found,) = agreements_of_clip([clips[0].future_NGCHW], clips[0])
    (without,) = agreements_of_clip([clips[0].future_NGCHW], replace(clips[0], ego_poses=None))
    assert found.total / found.patches > 0.5 > 2 * without.total / without.patches


def test_a_point_lies_where_the_sweep_says(clips: list[PixelPair]) -> None:
    pair = clips[0]
    b_from_a = relative_pose(pair, 1, 0, 1)
    places, columns = sweep_of(INTRINSIC, INTRINSIC, b_from_a, SIZE)
    row, column, depth = 40, columns.start + 6, 1 / np.linspace(0, 1 / 4, 16)[5]
    point = np.append(np.linalg.inv(INTRINSIC) @ [column, row, 1.0] * depth, 1.0)
    in_b = INTRINSIC @ (b_from_a @ point)[:3]
    assert np.allclose(places[5, row, 6], in_b[:2] / in_b[2], atol=1e-3)
    assert sweep_of(INTRINSIC, INTRINSIC, relative_pose(pair, 0, 2, 1), SIZE) is None
    assert columns.stop - columns.start < SIZE[1] / 2 + 2 * WINDOW


def test_a_larger_picture_gives_about_the_same() -> None:
    double = scale_intrinsics(INTRINSIC, 2.0)
    assert np.allclose(double @ [0, 0, 1], [159.5, 95.5, 1.0]) and double[0, 0] == 220
    pair = clip(0)
    both = torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)
    large = functional.interpolate(both.flatten(0, 1).float(), scale_factor=2, mode="bilinear").round().to(torch.uint8)
    large = large.view(*both.shape[:3], 192, 320)
    big = replace(
        pair, observed_NFCHW=large[:, :1], future_NGCHW=large[:, 1:], intrinsics=np.tile(double, (3, 1, 1))
    )  # fmt: skip
    (once,), (twice,) = (agreements_of_clip([each.future_NGCHW], each) for each in (pair, big))
    assert twice.total / twice.patches == pytest.approx(once.total / once.patches, rel=0.15)


def test_figure(clips: list[PixelPair]) -> None:
    metric = CrossView(PROTOCOL, every=1)
    for number, pair in enumerate(clips):
        video = pair.future_NGCHW
        metric.update(video if number else blurred(video), pair, number, group=number)
    figure = metric.figure()
    assert 0.6 < figure.value < 0.95 and figure.value == float(metric.compute())
    assert figure.clips == 3 and figure.spread > 0 and figure.interval[0] < figure.value < figure.interval[1]
    assert "real frames agree by 0." in figure.remarks[0] and "plane sweep" in figure.line()


def test_it_says_what_it_cannot_measure(clips: list[PixelPair]) -> None:
    narrow = replace(clips[0], cameras=CAMERAS[::2], **{
        name: getattr(clips[0], name)[::2]
        for name in ("observed_NFCHW", "future_NGCHW", "times_s", "intrinsics", "extrinsics", "ego_poses")
    })  # fmt: skip
    metric = CrossView(PROTOCOL)
    metric.update(narrow.future_NGCHW, narrow, 0)
    assert math.isnan(metric.figure().value) and "0 patches only" in metric.figure().remarks[0]
    assert metric.figure().to_dict()["value"] is None and "not measured" in metric.figure().line()

    turned = replace(clips[0], extrinsics=np.stack([camera_pose(yaw) for yaw in (65, 0, -65)]))
    metric = CrossView(PROTOCOL, every=1)
    for number in range(3):
        metric.update(turned.future_NGCHW, turned, number)
    assert math.isnan(metric.figure().value)

    with pytest.raises(InputError, match="needs a calibration"):
        metric.update(turned.future_NGCHW, replace(turned, intrinsics=None), 4)
    with pytest.raises(InputError, match="frames of one size"):
        metric.update(turned.future_NGCHW[:, :1], turned, 4)
