"""The nouns of the data path: both chunks of a camera, latents one by one and stacked, a batch that moves as one."""

import numpy as np
import torch

from worldmodel.datasets.pairs import Batch, LatentPair, PixelPair


def latents(number: int) -> LatentPair:
    mean = torch.randn(2, 8, 2, 4, 6, generator=torch.Generator().manual_seed(number))
    return LatentPair(mean, mean[0].abs(), prompt=mean[0, 0, 0])


def test_both_chunks_of_one_camera_as_a_vae_takes_them() -> None:
    video = torch.arange(2 * 6 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 6, 3, 4, 5)
    pair = PixelPair("drive", ("front", "back"), video[:, :3], video[:, 3:], np.zeros((2, 6)), 12.0)
    both = pair.both_chunks(camera=1)
    assert both.shape == (2, 3, 3, 4, 5) and both.is_contiguous()
    assert torch.equal(both[1, :, 2], video[1, 5])


def test_stacked_latents_keep_what_is_there_and_nothing_else() -> None:
    stacked = LatentPair.stack([latents(0), latents(1), latents(2)])
    assert sorted(stacked.tensors()) == ["mean", "prompt", "std"] and stacked.noise is None
    assert stacked.mean.shape == (3, 2, 8, 2, 4, 6) and torch.equal(stacked.std[2], latents(2).std)


def test_a_batch_moves_with_all_its_tensors() -> None:
    batch = Batch(torch.zeros(2, 2, 3, 5, 8, 8, dtype=torch.uint8), LatentPair.stack([latents(0)]), seeds=(7, 8))
    moved = batch.each(lambda tensor: tensor.to("meta"))
    assert moved.pixels.is_meta and moved.latents.mean.is_meta and moved.latents.prompt.is_meta
    assert moved.seeds == (7, 8) and not batch.pixels.is_meta
