"""Mean and standard deviation of each latent channel, which a VAE carries so that its latents can be normalised."""

import torch
from tqdm import tqdm

from worldmodel.backbones.backbone import Backbone
from worldmodel.pixels import signed_from_uint8
from worldmodel.training.chunks import ChunkCrops


@torch.no_grad()
def set_latent_moments(backbone: Backbone, chunks: ChunkCrops, most: int = 64) -> None:
    """Fill `latents_mean` and `latents_std` of the VAE from at most `most` whole chunks, evenly chosen."""
    vae = backbone.vae
    device = next(vae.parameters()).device
    picked = range(0, len(chunks), max(1, len(chunks) // most))
    channels = vae.config.latent_channels
    count, total, squares = 0, torch.zeros(channels).double(), torch.zeros(channels).double()
    for number in tqdm(picked, desc="latent moments"):
        video = signed_from_uint8(chunks[number][None].to(device))
        mean_CS = vae.encode(video).latent_dist.mean[0].flatten(1).double().cpu()
        count, total, squares = count + mean_CS.shape[1], total + mean_CS.sum(1), squares + mean_CS.square().sum(1)
    mean = total / count
    vae.latents_mean.copy_(mean)
    vae.latents_std.copy_((squares / count - mean.square()).sqrt())
