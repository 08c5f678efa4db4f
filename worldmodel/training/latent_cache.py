"""The latent cache: what training needs of every chunk pair, computed once with the frozen pretrained model.

A folder of safetensors shards, each a fixed run of pairs, and `card.json`, which says what they were made from. A shard
is written whole to a temporary name and renamed, and its content follows from the card alone: a build that was killed
goes on where it stopped and ends with the same bytes. A folder whose card differs is refused, never mixed.

Shape legend: P pairs of a shard, 2 the observed and the future chunk, F frames, H height, W width, 3 colours;
C f h w are latents, normalised.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float16, UInt8
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from worldmodel.backbones.backbone import Backbone
from worldmodel.errors import InputError
from worldmodel.flow.inversion import invert
from worldmodel.provenance import weights_hash

CARD = "card.json"
VERSION = 1  # of the layout


@runtime_checkable
class Pairs(Protocol):
    """Chunk pairs to be cached, all of one shape. `identity` changes when any frame does."""

    @property
    def identity(self) -> str: ...
    @property
    def frame_rate(self) -> float: ...
    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> UInt8[Tensor, "2 3 F H W"]: ...


@dataclass(frozen=True)
class CacheCard:
    """What a cache was made from and how it lies on disk; two caches of equal cards hold equal numbers.

    Attributes:
        pairs_identity: of the frames. pairs: how many. frame_rate: frames per second.
        vae: sha256 of its weights.
        network: sha256 of the weights that inverted the future chunks; null where nothing was inverted.
        inversion_steps: steps of RF-Solver, two evaluations each; 0 is no inversion.
        precision: autocast of the networks. shard_pairs: pairs of a full shard. version: of the layout.
    """

    pairs_identity: str
    pairs: int
    frame_rate: float
    vae: str
    network: str | None
    inversion_steps: int
    precision: str
    shard_pairs: int
    version: int = VERSION

    @property
    def shards(self) -> int:
        """How many files there are when the cache is whole."""
        return -(-self.pairs // self.shard_pairs)


class LatentCache(Dataset[dict[str, Tensor]]):
    """A finished cache. Samples are read through memory maps, nothing is loaded whole; pickles as its folder.

    Raises:
        InputError: no cache there, or one that is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / CARD).is_file():
            raise InputError(f"{self.folder}: no latent cache ({CARD} is absent); build it first")
        self.card = CacheCard(**json.loads((self.folder / CARD).read_text()))
        missing = [number for number in range(self.card.shards) if not _shard(self.folder, number).is_file()]
        if missing:
            raise InputError(f"{self.folder}: {len(missing)} of {self.card.shards} shards are missing; build it again")
        self._open: dict[int, safe_open] = {}
        self._files = ExitStack()

    def __reduce__(self) -> tuple[type["LatentCache"], tuple[Path]]:
        return LatentCache, (self.folder,)

    def __len__(self) -> int:
        return self.card.pairs

    def __getitem__(self, number: int) -> dict[str, Float16[Tensor, "..."]]:
        """`mean` [2, C, f, h, w], `std` [C, f, h, w] of the observed chunk and, where the cache was built with
        inversion, `noise` [C, f, h, w], the future chunk inverted."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard, row = divmod(number, self.card.shard_pairs)
        if shard not in self._open:
            self._open[shard] = self._files.enter_context(safe_open(_shard(self.folder, shard), framework="pt"))
        opened = self._open[shard]
        return {name: opened.get_slice(name)[row : row + 1][0] for name in opened.keys()}


def build_latent_cache(
    folder: str | Path,
    pairs: Pairs,
    backbone: Backbone,
    inversion_steps: int = 25,
    precision: str = "no",
    shard_pairs: int = 256,
    batch_size: int = 4,
    device: torch.device | str = "cpu",
) -> LatentCache:
    """Encode what is missing of the cache in `folder` and open it.

    `backbone` is the pretrained model: its VAE encodes, its transformer inverts with the empty prompt and no guidance
    (paper Algorithm 1, lines 4 to 6).

    Args:
        inversion_steps: 0 caches no noise, which is enough for Algorithms 2 and 3.
        precision: "bf16" runs the networks under autocast.

    Raises:
        InputError: no pairs, or the folder holds a cache made from something else; the message names what differs.
    """
    device = torch.device(device)
    if not len(pairs):
        raise InputError("no chunk pairs to cache; check the data")
    card = CacheCard(
        pairs.identity, len(pairs), pairs.frame_rate, weights_hash(backbone.vae),
        weights_hash(backbone.transformer) if inversion_steps else None, inversion_steps, precision, shard_pairs,
    )  # fmt: skip
    folder = Path(folder)
    _claim(folder, card)
    missing = [number for number in range(card.shards) if not _shard(folder, number).is_file()]
    for number in tqdm(missing, desc="latent cache", unit="shard", disable=not missing):
        first = number * shard_pairs
        numbers = range(first, min(first + shard_pairs, len(pairs)))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            batches = [_encode(_stack(pairs, batch), backbone, card, device) for batch in _batches(numbers, batch_size)]
        tensors = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        _write_whole(_shard(folder, number), tensors)
    return LatentCache(folder)


def _claim(folder: Path, card: CacheCard) -> None:
    """Write the card, or compare with the one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    said = asdict(card)
    if (folder / CARD).is_file():
        there = json.loads((folder / CARD).read_text())
        differing = [name for name in said if there.get(name) != said[name]]
        if differing:
            raise InputError(
                f"{folder}: a latent cache made with other {', '.join(differing)}; choose another folder or delete it"
            )
        return
    part = folder / f"{CARD}.part"
    part.write_text(json.dumps(said, indent=1) + "\n")
    part.rename(folder / CARD)


@torch.no_grad()
def _encode(
    both_P23FHW: UInt8[Tensor, "P 2 3 F H W"], backbone: Backbone, card: CacheCard, device: torch.device
) -> dict[str, Tensor]:
    video = both_P23FHW.to(device).float() / 127.5 - 1
    observed, future = backbone.encode(video[:, 0]), backbone.encode(video[:, 1])
    found = {"mean": torch.stack([observed.mean_BCfhw, future.mean_BCfhw], dim=1), "std": observed.std_BCfhw}
    if card.inversion_steps:
        prompt, mask = backbone.empty_prompt()

        def velocity(x: Tensor, sigma_B: Tensor) -> Tensor:
            embeds = prompt.to(x).expand(len(x), -1, -1)
            return backbone.velocity(x, sigma_B, embeds, mask, card.frame_rate)

        found["noise"] = invert(velocity, future.mean_BCfhw.float(), card.inversion_steps).x
    return {name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in found.items()}


def _write_whole(file: Path, tensors: dict[str, Tensor]) -> None:
    part = file.with_suffix(".part")
    save_file(tensors, part)
    part.rename(file)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _batches(numbers: range, size: int) -> Iterator[range]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


def _stack(pairs: Pairs, numbers: range) -> Tensor:
    return torch.stack([pairs[number] for number in numbers])
