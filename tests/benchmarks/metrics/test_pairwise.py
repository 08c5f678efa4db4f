"""Scores per clip, camera and step; LPIPS against torchmetrics'; drift; the bootstrap."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from worldmodel.benchmarks.metrics.catalogue import Metrics
from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.drift import drift_of, drift_of_distances
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.frechet import frechet_distance_of_features
from worldmodel.benchmarks.metrics.lpips import LPIPS, load_lpips
from worldmodel.benchmarks.metrics.pairwise import PSNR, SSIM, Brightness, Perceptual, Sharpness, edges
from worldmodel.benchmarks.metrics.spread import bootstrap_of_mean, bootstrap_of_ratio
from worldmodel.benchmarks.suites.scoring import pairwise_scores
from worldmodel.errors import InputError
from worldmodel.files import file_sha256
from worldmodel.measure.frame_scores import frame_scores

FRAMES, CLIPS = 4, 6
PROTOCOL = Protocol("", frames=FRAMES, frame_rate=12.0, clips="list@1")


def drawn(seed: int, clips: int = CLIPS, frames: int = FRAMES) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(60, 200, (clips, frames, 3, 24, 32), generator=random).to(torch.uint8)


def noisy(truth: torch.Tensor, by_frame: tuple[float, ...]) -> torch.Tensor:
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(9))
    return (truth + torch.tensor(by_frame).view(-1, 1, 1, 1) * noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("kind", [PSNR, SSIM])
def test_scores_are_the_house_s_own(kind: type) -> None:
    truth, predicted = drawn(0), noisy(drawn(0), (2, 4, 8, 16))
    metric = kind(PROTOCOL, cameras=("CAM_FRONT", "CAM_BACK"))
    cameras = torch.tensor([0, 1, 0, 1, 0, 1])
    for part in torch.tensor([4, 5, 0, 2, 1, 3]).split(4):
        metric.update(predicted[part], truth[part], part, cameras[part], part // 2)
    expected = frame_scores(predicted, truth)
    expected_SG = expected.psnr_NT if kind is PSNR else expected.ssim_NT
    numbers, scores = metric.scores()
    assert numbers.tolist() == list(range(CLIPS))
    assert np.allclose(scores, expected_SG, atol=1e-12)
    figure, by_camera, curve = metric.figure(), metric.by_camera(), metric.by_frame()
    assert figure.value == pytest.approx(expected_SG.mean()) == pytest.approx(float(metric.compute()))
    assert by_camera["CAM_BACK"].value == pytest.approx(expected_SG[1::2].mean())
    assert by_camera["CAM_BACK"].clips == 3 and by_camera["CAM_BACK"].name == f"{kind.title}[CAM_BACK]"
    assert np.allclose(curve.values, expected_SG.mean(0)) and list(curve.values) == sorted(curve.values, reverse=True)
    assert figure.spread > 0 and figure.interval[0] < figure.value < figure.interval[1]
    assert figure.protocol.frames == FRAMES and figure.protocol.clips == "list@1"
    assert kind.title.lower() in figure.line()


@pytest.mark.parametrize("kind", [PSNR, SSIM, Sharpness, Brightness])
def test_float_frames_are_refused(kind: type) -> None:
    truth, metric = drawn(0), kind(PROTOCOL)
    for given in ((truth / 255, truth), (truth, truth / 255), (truth.float(), truth.float())):
        with pytest.raises(InputError, match=f"{metric.title}: frames of dtype float32; give 8-bit frames"):
            metric.score(*given)
        with pytest.raises(InputError, match="give 8-bit frames"):
            metric.update(*given, torch.arange(CLIPS))


def test_lpips_refuses_float_frames() -> None:
    frames = drawn(0, clips=1)[0]
    with pytest.raises(InputError, match=r"LPIPS\[alex\]: frames of dtype float32"):
        LPIPS("alex")(frames / 255, frames / 255)


def test_an_equal_frame_counts_100_db() -> None:
    metric = PSNR(PROTOCOL)
    metric.update(drawn(0), drawn(0), torch.arange(CLIPS))
    assert metric.figure().value == 100.0 and metric.figure().spread == 0.0


def test_sharpness_and_brightness() -> None:
    truth = drawn(0)
    blurred = nn.functional.avg_pool2d(truth.flatten(0, 1).float(), 3, 1, 1).view(truth.shape).to(torch.uint8)
    sharpness, brightness = Sharpness(PROTOCOL), Brightness(PROTOCOL)
    for metric in (sharpness, brightness):
        metric.update(blurred, truth, torch.arange(CLIPS))
        metric.update(truth + 7, truth, torch.arange(CLIPS) + CLIPS)
    assert float(sharpness.scores()[1][:CLIPS].max()) < 0.6
    assert torch.allclose(sharpness.scores()[1][CLIPS:], torch.ones(CLIPS, FRAMES, dtype=torch.float64))
    assert torch.allclose(brightness.scores()[1][CLIPS:], torch.full((CLIPS, FRAMES), 7.0, dtype=torch.float64))
    ramp = torch.arange(32).view(1, 1, 1, 1, 32).expand(1, 1, 3, 24, 32).to(torch.uint8)
    assert float(edges(ramp)) == 0.5


def test_refusals() -> None:
    metric = PSNR(PROTOCOL)
    with pytest.raises(InputError, match="frames expected"):
        metric.update(drawn(0), drawn(0)[:, :, :, :12], torch.arange(CLIPS))
    with pytest.raises(InputError, match="4 frames expected"):
        metric.update(drawn(0, frames=3), drawn(0, frames=3), torch.arange(CLIPS))
    with pytest.raises(InputError, match="no clip was scored"):
        metric.figure()
    metric.update(drawn(0), drawn(1), torch.zeros(CLIPS, dtype=torch.int64))
    with pytest.raises(InputError, match="one sample number"):
        metric.figure()


def test_bootstrap_draws_groups() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone = bootstrap_of_mean(values, torch.arange(400))
    assert alone.error == pytest.approx(float(values.std() / 20), rel=0.1)
    low, high = alone.interval
    assert low < float(values.mean()) < high and high - low == pytest.approx(2 * 1.96 * alone.error, rel=0.1)
    alike = values[:40].repeat_interleave(10)  # ten times the clips, no more drives
    assert bootstrap_of_mean(alike, torch.arange(400) // 10).error == pytest.approx(
        float(values[:40].std() / 40**0.5), rel=0.1
    )
    assert bootstrap_of_mean(values, torch.zeros(400, dtype=torch.int64)) is None
    assert bootstrap_of_mean(values, torch.arange(400)) == alone
    ratio = bootstrap_of_ratio(2 * values.abs(), values.abs(), torch.arange(400))
    assert ratio.error == pytest.approx(0.0, abs=1e-12) and ratio.interval == pytest.approx((2.0, 2.0))


def test_drift_of_a_rollout() -> None:
    truth = drawn(0)
    metric = PSNR(PROTOCOL)
    metric.update(noisy(truth, (2, 2, 16, 16)), truth, torch.arange(CLIPS))
    found = drift_of(metric, chunk_frames=2)
    first, last = found.by_chunk.values
    assert found.drift.value == pytest.approx(last - first) and found.drift.value < -15
    assert found.drift.spread == pytest.approx(0.0, abs=0.1) and len(found.by_chunk.spreads) == 2
    assert found.drift.name == "drift of PSNR" and found.drift.unit == "dB"
    assert drift_of(metric, chunk_frames=FRAMES) is None
    with pytest.raises(InputError, match="4 frames are not whole chunks of 3"):
        drift_of(metric, chunk_frames=3)


@pytest.mark.filterwarnings("ignore:.*mostly bias")
def test_drift_of_a_frechet_distance() -> None:
    def features(seed: int) -> torch.Tensor:
        return torch.randn(60, 1, 8, generator=torch.Generator().manual_seed(seed)) + seed / 2

    metrics, values = [], []
    for predicted in (features(1), features(4)):
        metric = FrechetDistance("FVD", Protocol("some-network", width=8, frames=17))
        metric.update(features(0), True, torch.arange(60))
        metric.update(predicted, False, torch.arange(60))
        metrics.append(metric)
        values.append(frechet_distance_of_features(features(0)[:, 0], predicted[:, 0]))
    drift = drift_of_distances(*metrics)
    assert drift.name == "drift of FVD"
    assert drift.value == pytest.approx(values[1] - values[0]) and drift.value > 20
    assert 0 < drift.spread < drift.value and drift.jackknife == pytest.approx(drift.value, rel=0.1)


def trunk_file(net: str, folder: Path) -> Path:
    """Random weights under torchvision's names, a classifier among them."""
    torch.manual_seed(3)
    features = {f"features.{name}": value for name, value in LPIPS(net).features.state_dict().items()}
    name = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}[net]
    torch.save(features | {"classifier.0.weight": torch.zeros(2, 2)}, folder / name)
    return folder / name


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_equals_torchmetrics(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import lpips as theirs

    path = trunk_file(net, tmp_path)
    ours = load_lpips(net, tmp_path, sha256=file_sha256(path))
    # torchmetrics takes the trunk's layers from torchvision, which is not installed: it is handed the same layers.
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_: [*ours.features, *[nn.Identity()] * 2])
    expected = theirs._NoTrainLpips(net=net)
    one, other = (drawn(seed, 1)[0].repeat(1, 1, 3, 3) for seed in (0, 1))
    with torch.no_grad():
        wanted = expected(one.float() / 127.5 - 1, other.float() / 127.5 - 1).flatten()
        found = ours(one, other)
    print(f"\n{net}: max abs difference {float((found - wanted).abs().max()):.1e} of {float(wanted.max()):.3f}")
    assert float(wanted.min()) > 1e-3 and torch.allclose(found, wanted, atol=1e-6, rtol=1e-5)
    assert torch.equal(ours(one, one), torch.zeros(FRAMES))

    metric = Perceptual(ours, PROTOCOL)
    metric.update(other[None], one[None], torch.tensor([0]))
    assert torch.allclose(metric.scores()[1][0].float(), wanted, atol=1e-6)
    assert metric.figure().protocol.sha256 == file_sha256(path) and f"lpips-{net}" in metric.figure().line()


def test_lpips_is_among_the_scores_of_a_benchmark_where_its_weights_are(tmp_path: Path) -> None:
    path = trunk_file("alex", tmp_path)
    metrics = Metrics(perceptual={"lpips": load_lpips("alex", tmp_path, sha256=file_sha256(path))})
    titles = [score.title for score in pairwise_scores(metrics, PROTOCOL, ["front"])]
    assert titles == ["PSNR", "SSIM", "sharpness", "brightness", "LPIPS[alex]"]
    assert metrics.names == ["lpips"]


def test_lpips_weights_are_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="alexnet-owt-7be5be79.pth"):
        load_lpips("alex", tmp_path)
    with pytest.raises(InputError, match="alex and vgg"):
        load_lpips("squeeze")
