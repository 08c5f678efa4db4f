"""Latents of a frame store's chunk pairs, encoded once with the frozen VAE.

One safetensors file: `means` [P, 2, C, f, h, w] float16, the normalised posterior means of the observed and the
future chunk of P pairs. It is keyed by the frames and by the VAE's weights, so another VAE never reads it.
"""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float16
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.backbones.backbone import Backbone
from worldmodel.datasets.frame_store import FrameStore


class LatentPairs(Dataset[Tensor]):
    """Means [2, C, f, h, w] of one pair, read from the memory-mapped file."""

    def __init__(self, file: Path) -> None:
        with safe_open(file, framework="pt") as shard:
            self.means_P2Cfhw: Float16[Tensor, "P 2 C f h w"] = shard.get_tensor("means")

    def __len__(self) -> int:
        return len(self.means_P2Cfhw)

    def __getitem__(self, number: int) -> Float16[Tensor, "2 C f h w"]:
        return self.means_P2Cfhw[number]


def latent_pairs(
    backbone: Backbone, store: FrameStore, frames: int, stride: int, device: torch.device, precision: str = "no"
) -> LatentPairs:
    """All pairs of two consecutive chunks of `frames` frames, a pair every `stride` frames of a track.

    `precision` "bf16" encodes under autocast.
    """
    starts = [start for track in store.tracks for start in track.chunk_starts(2 * frames, stride)]
    key = f"{weights_hash(backbone.vae)[:16]}-{frames}x{stride}-{precision}"
    file = store.folder / f"latents-{key}.safetensors"
    if not file.exists():
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            encoded = [_encode(backbone, store, start, frames, device) for start in tqdm(starts, desc="encode")]
        means = torch.stack(encoded)
        part = file.with_suffix(".part")
        save_file({"means": means}, part, {"frames": str(frames), "stride": str(stride), "store": store.identity})
        part.rename(file)
    return LatentPairs(file)


@torch.no_grad()
def _encode(backbone: Backbone, store: FrameStore, start: int, frames: int, device: torch.device) -> Tensor:
    both = torch.stack([store.chunk(start + shift, frames) for shift in (0, frames)])
    mean = backbone.encode(both.to(device).float() / 127.5 - 1).mean_BCfhw
    return mean.to("cpu", torch.float16)


def weights_hash(module: torch.nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
