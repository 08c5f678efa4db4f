"""The upper bound of a prediction: cameras and chunks apart, 8-bit frames only."""

import pytest
import torch

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.errors import InputError
from worldmodel.models.round_trip import vae_round_trip


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, temporal=4)
    return tiny_backbone(vae, tiny_transformer(vae.config.latent_channels, 1, 2, 16, 16))


def test_floats_are_refused(backbone: Backbone) -> None:
    with pytest.raises(InputError, match="VAE round trip: frames of dtype float32"):
        vae_round_trip(backbone, torch.rand(1, 5, 3, 32, 32), 5)


def test_round_trip_keeps_cameras_and_chunks_apart(backbone: Backbone) -> None:
    truth = torch.randint(0, 256, (2, 12, 3, 32, 32), dtype=torch.uint8)
    passed = vae_round_trip(backbone, truth, 5)
    assert passed.shape == (2, 10, 3, 32, 32)  # the last two frames are no whole chunk
    video = truth[1:, 5:10].float().div(127.5).sub(1).transpose(1, 2)
    with torch.no_grad():
        alone = backbone.decode(backbone.encode(video).mean_BCfhw)
    expected = alone.div(2).add(0.5).clamp(0, 1).mul(255).round().transpose(1, 2)
    assert torch.equal(passed[1, 5:].float(), expected[0])
