"""Patches by convolution are diffusers' own, bit for bit."""

import pytest
import torch

from worldmodel.backbones.tiny import tiny_vae
from worldmodel.export.graphs.ltx_vae import LTXDecoderNetwork, LTXEncoderNetwork
from worldmodel.export.graphs.patches import FromPatches, ToPatches


@pytest.mark.parametrize("patch", [2, 4])
def test_there_and_back(patch: int) -> None:
    pixels = torch.randn(2, 3, 5, 4 * patch, 3 * patch)
    patches = ToPatches(patch)(pixels)
    assert patches.shape == (2, 3 * patch**2, 5, 4, 3)
    assert torch.equal(FromPatches(patch)(patches), pixels)
    column, row = 1, 0
    assert torch.equal(patches[:, 2 * patch**2 + column * patch + row], pixels[:, 2, :, row::patch, column::patch])


@torch.no_grad()
def test_networks_with_them_are_the_vaes() -> None:
    vae = tiny_vae(base_channels=8, latent_channels=8, temporal=4).eval()
    assert vae.config.patch_size == 4
    pixels, latents = torch.rand(2, 3, 9, 32, 48), torch.randn(2, 8, 3, 2, 3)
    assert torch.equal(LTXEncoderNetwork(vae)(pixels), vae.encoder(pixels))
    assert torch.equal(LTXDecoderNetwork(vae, None)(latents), vae.decoder(latents, None))
    assert vae.encoder.patch_size == vae.decoder.patch_size == 4, "the VAE itself stays as it is"
