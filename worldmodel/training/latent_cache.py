"""The latent cache: what training needs of every chunk pair, computed once with the frozen pretrained model.

A folder of safetensors shards, each a fixed run of pairs, and `card.json`, which says what they were made from. A shard
is written whole to a temporary name and renamed, and its content follows from the card alone: a build that was killed
goes on where it stopped and ends with the same bytes. A folder whose card differs is refused, never mixed.

Shape legend: 2 the observed and the future chunk; C f h w are latents, normalised.
"""

import hashlib
import json
import logging
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from worldmodel.errors import InputError
from worldmodel.files import is_kept, remove_partial, save_tensors, written_whole
from worldmodel.training.attention import fastest_attention
from worldmodel.training.chunks import Pairs, collate
from worldmodel.training.latents import LatentEncoder

logger = logging.getLogger(__name__)
CARD = "card.json"
VERSION = 2  # of the layout


@dataclass(frozen=True)
class CacheCard:
    """What a cache was made from and how it lies on disk; two caches of equal cards hold equal numbers.

    Attributes:
        pairs_identity: of the frames. pairs: how many.
        vae: sha256 of its weights.
        network: sha256 of the weights that inverted the future chunks; empty where nothing was inverted.
        inversion_steps: steps of RF-Solver, two evaluations each; 0 is no inversion.
        precision: autocast of the networks. shard_pairs: pairs of a full shard. version: of the layout.
        replaced: pairs that could not be read and in whose place the next was taken; counted when the cache is whole.
    """

    pairs_identity: str
    pairs: int
    vae: str
    network: str
    inversion_steps: int
    precision: str
    shard_pairs: int
    version: int = VERSION
    replaced: int = 0

    @property
    def said(self) -> dict[str, Any]:
        """What card.json holds; `replaced` where it is not 0."""
        return {name: value for name, value in asdict(self).items() if name != "replaced" or value}

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
        missing = [number for number in range(self.card.shards) if not is_kept(shard_file(self.folder, number))]
        if missing:
            raise InputError(f"{self.folder}: {len(missing)} of {self.card.shards} shards are missing; build it again")
        self._open: dict[int, safe_open] = {}
        self._files = ExitStack()

    @property
    def identity(self) -> str:
        """Of the frames and of the weights that made the latents."""
        return hashlib.sha256(json.dumps(self.card.said).encode()).hexdigest()

    def __reduce__(self) -> tuple[type["LatentCache"], tuple[Path]]:
        return LatentCache, (self.folder,)

    def __len__(self) -> int:
        return self.card.pairs

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """`mean` [2, C, f, h, w], `std` [C, f, h, w] of the observed chunk and, where the cache was built with
        inversion, `noise` [C, f, h, w], the future chunk inverted: float16. `frame_rate`, frames a second: float32."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard, row = divmod(number, self.card.shard_pairs)
        if shard not in self._open:
            self._open[shard] = self._files.enter_context(safe_open(shard_file(self.folder, shard), framework="pt"))
        opened = self._open[shard]
        return {name: opened.get_slice(name)[row : row + 1][0] for name in opened.keys()}


def build_latent_cache(folder: str | Path, pairs: Pairs, encoder: LatentEncoder, **settings: Any) -> LatentCache:
    """`write_shards`, then open."""
    write_shards(folder, pairs, encoder, **settings)
    return LatentCache(folder)


def write_shards(
    folder: str | Path,
    pairs: Pairs,
    encoder: LatentEncoder,
    shard_pairs: int = 256,
    batch_size: int = 4,
    workers: int = 0,
    device: torch.device | str = "cpu",
    share: tuple[int, int] = (0, 1),
) -> None:
    """Encode what is missing of the cache in `folder`.

    Args:
        shard_pairs: pairs of a file.
        workers: processes that read the pairs.
        share: (which, of how many): several processes, or the jobs of an array, each write their own shards.

    Raises:
        InputError: no pairs, or the folder holds a cache made from something else; the message names what differs.
    """
    if not len(pairs):
        raise InputError("no chunk pairs to cache; check the data")
    card = CacheCard(
        pairs.identity, len(pairs), encoder.vae_sha256, encoder.network_sha256, encoder.inversion_steps,
        encoder.precision, shard_pairs,
    )  # fmt: skip
    folder = Path(folder)
    _claim(folder, card)
    mine = range(share[0], card.shards, share[1])
    missing = [number for number in mine if not is_kept(shard_file(folder, number))]
    for number in tqdm(missing, desc="latent cache", unit="shard", disable=not missing):
        first = number * shard_pairs
        numbers = range(first, min(first + shard_pairs, len(pairs)))
        chosen = Subset(cast(Dataset, pairs), numbers)
        loader = DataLoader(chosen, batch_size=batch_size, num_workers=workers, collate_fn=collate)
        tensors, replaced = _shard(loader, encoder, device)
        file = shard_file(folder, number)
        remove_partial(folder, file.name)
        with written_whole(file) as part:
            save_tensors(tensors, part, {"replaced": str(replaced)} if replaced else None)
    if missing or share[0] == 0:
        _count_replaced(folder, card)


def _claim(folder: Path, card: CacheCard) -> None:
    """Write the card, or compare with the one that is there."""
    said = card.said
    if (folder / CARD).is_file():
        there = json.loads((folder / CARD).read_text())
        differing = [name for name in said if there.get(name) != said[name]]
        if differing:
            raise InputError(
                f"{folder}: a latent cache made with other {', '.join(differing)}; choose another folder or delete it"
            )
        return
    _write(card, folder)


def _write(card: CacheCard, folder: Path) -> None:
    with written_whole(folder / CARD) as part:
        part.write_text(json.dumps(card.said, indent=1) + "\n")


def _count_replaced(folder: Path, card: CacheCard) -> None:
    """Of a cache that is whole, say how many pairs could not be read: in its card and, if there are any, in the log."""
    files = [shard_file(folder, number) for number in range(card.shards)]
    if not all(map(is_kept, files)):
        return
    replaced = sum(map(_replaced_in, files))
    if replaced != json.loads((folder / CARD).read_text()).get("replaced", 0):
        _write(replace(card, replaced=replaced), folder)
    if replaced:
        logger.warning("%s: %d of %d pairs could not be read, the next stand in for them", folder, replaced, card.pairs)


def _replaced_in(file: Path) -> int:
    with safe_open(file, framework="pt") as opened:
        return int((opened.metadata() or {}).get("replaced", 0))


def _shard(loader: DataLoader, encoder: LatentEncoder, device: torch.device | str) -> tuple[dict[str, Tensor], int]:
    """The tensors of one file, and how many of its pairs had to be replaced."""
    batches, replaced = [], 0
    with fastest_attention(torch.device(device)):
        for batch in loader:
            batches.append(_encode(batch, encoder, device))
            replaced += sum(batch.get("replaced", ()))
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}, replaced


def _encode(batch: dict[str, Any], encoder: LatentEncoder, device: torch.device | str) -> dict[str, Tensor]:
    found = encoder(batch["frames"].to(device), batch["frame_rate"])
    half = {name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in found.items()}
    return half | {"frame_rate": torch.tensor(batch["frame_rate"])}


def shard_file(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:05d}.safetensors"
