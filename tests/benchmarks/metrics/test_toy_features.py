"""From frames to figures with an extractor that ships, and that it can be taken for nothing else."""

import pytest
import torch

from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.figure import MetricFigure
from worldmodel.benchmarks.metrics.toy_features import NAME, TinyFeatures
from worldmodel.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*mostly bias")
CLIPS = 4


@pytest.fixture(scope="module")
def tiny() -> TinyFeatures:
    return TinyFeatures()


def frames(seed: int, noise: float = 0.0) -> torch.Tensor:
    """Smooth moving pictures [CLIPS, 5, 3, 64, 96]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(CLIPS, 3, 3, 5, 7, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (5, 64, 96), mode="trilinear")
    video = smooth.transpose(1, 2) * 255 + noise * torch.randn(CLIPS, 5, 3, 64, 96, generator=random)
    return video.clamp(0, 255).to(torch.uint8)


def distance(tiny: TinyFeatures, noise: float) -> MetricFigure:
    protocol = tiny.protocol(64, 5, 12.0, "toy@1", "cd" * 32)
    metric = FrechetDistance(tiny.title_of(64), protocol, tiny.rows(5))
    metric.update(tiny(frames(0))[64], True, torch.arange(CLIPS))
    metric.update(tiny(frames(0, noise))[64], False, torch.arange(CLIPS))
    return metric.figure()


def test_more_noise_lies_further_away(tiny: TinyFeatures) -> None:
    figures = [distance(tiny, noise) for noise in (0.0, 10.0, 40.0)]
    values = [figure.value for figure in figures]
    assert values[0] == pytest.approx(0.0, abs=1e-9) and values[0] < values[1] < values[2]
    figure = figures[0]
    assert figure.name == f"FD[{NAME}]" and "FID" not in figure.line() and "FVD" not in figure.line()
    assert figure.rows == CLIPS * tiny.rows(5) == CLIPS * 2 * 8 * 12
    said = figure.protocol
    assert (said.width, said.frames, said.frame_rate, said.clips, said.antialias) == (64, 5, 12.0, "toy@1", True)
    assert len(said.sha256) == 64 and said.dtype == "float32"


def test_features_are_the_backbone_s_normalised_latents(tiny: TinyFeatures) -> None:
    from worldmodel.checkpoints import shipped
    from worldmodel.models.open import open_backbone

    video = torch.randint(0, 256, (1, 5, 3, 128, 192), dtype=torch.uint8)
    backbone = open_backbone(shipped("tiny"), dtype=torch.float32)
    with torch.no_grad():
        mean_BCfhw = backbone.encode(video.transpose(1, 2).float() / 127.5 - 1).mean_BCfhw
    assert torch.allclose(tiny(video)[64][0].T, mean_BCfhw[0].flatten(1), atol=1e-5)
    with pytest.raises(InputError, match="4k\\+1"):
        tiny(video[:, :4])


def test_float_frames_are_refused(tiny: TinyFeatures) -> None:
    with pytest.raises(InputError, match=f"{NAME}: frames of dtype float32; give 8-bit frames"):
        tiny(frames(0) / 255)
