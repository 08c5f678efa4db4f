"""The latent cache: what training needs of every chunk pair, computed once with the frozen pretrained model.

A folder of safetensors shards, each a fixed run of pairs, and `card.json`, which says what they were made from. A shard
is written whole to a temporary name and renamed, and its content follows from the card alone: a build that was killed
goes on where it stopped and ends with the same bytes. A folder whose card differs is refused, never mixed.

Pairs of one video share its caption: a shard holds each prompt once, `prompts` [K, L, D] and perhaps `prompt_masks`
[K, L], and `prompt_row` [pairs], which of them is whose.

Shape legend: 2 the observed and the future chunk; C f h w are latents, normalised; K captions of a shard, L prompt
tokens, D prompt width.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from worldmodel.datasets.pairs import Batch, LatentPair, PixelPair
from worldmodel.datasets.reading import reading
from worldmodel.errors import InputError
from worldmodel.files import is_kept, remove_partial, save_tensors, written_whole
from worldmodel.measure.report import Record
from worldmodel.training.attention import fastest_attention
from worldmodel.training.chunks import Pairs, stacked
from worldmodel.training.latents import LatentEncoder

logger = logging.getLogger(__name__)
CARD = "card.json"
VERSION = 2  # of the layout
PROMPTS = {"prompts": "prompt", "prompt_masks": "prompt_mask"}  # in a shard, in a `LatentPair`
LATER = ("replaced", "conventions", "captions")  # fields that earlier caches do not have


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
        conventions: that training follows; those that draw the target have both chunks' deviations here.
        captions: sha256 of what embedded the captions; empty where none were asked for.
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
    conventions: str = "paper"
    captions: str = ""

    @property
    def document(self) -> Record:
        """What card.json holds; of `LATER` what is not the default: caches without it stay the same."""
        plain = {field.name: field.default for field in fields(self) if field.name in LATER}
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != plain[name]}

    @property
    def shards(self) -> int:
        """How many files there are when the cache is whole."""
        return -(-self.pairs // self.shard_pairs)


class LatentCache(Dataset[LatentPair]):
    """A finished cache. Samples are read through memory maps, nothing is loaded whole; pickles as its folder.

    Raises:
        InputError: no cache there, or one that is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / CARD).is_file():
            raise InputError(f"{self.folder}: no latent cache ({CARD} is absent); build it first")
        self.card = read_card(self.folder)
        missing = [number for number in range(self.card.shards) if not is_kept(shard_file(self.folder, number))]
        if missing:
            raise InputError(f"{self.folder}: {len(missing)} of {self.card.shards} shards are missing; build it again")
        self._open: dict[int, safe_open] = {}
        self._files = ExitStack()

    @property
    def identity(self) -> str:
        """Of the frames and of the weights that made the latents."""
        return hashlib.sha256(json.dumps(self.card.document).encode()).hexdigest()

    def __reduce__(self) -> tuple[type["LatentCache"], tuple[Path]]:
        return LatentCache, (self.folder,)

    def __len__(self) -> int:
        return self.card.pairs

    def __getitem__(self, number: int) -> LatentPair:
        """One pair, float16."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard, row = divmod(number, self.card.shard_pairs)
        if shard not in self._open:
            self._open[shard] = self._files.enter_context(safe_open(shard_file(self.folder, shard), framework="pt"))
        opened = self._open[shard]
        names = {*opened.keys()} - {"prompt_row"}
        rows = dict.fromkeys(names, row)
        if self.card.captions:
            rows |= dict.fromkeys(PROMPTS.keys() & names, int(opened.get_slice("prompt_row")[row]))
        tensors = {PROMPTS.get(name, name): opened.get_slice(name)[at : at + 1][0] for name, at in rows.items()}
        return LatentPair(frame_rate=float(tensors.pop("frame_rate")), **tensors)


def read_card(folder: Path) -> CacheCard:
    """The card of a cache; raises `InputError` for one that this version does not know."""
    try:
        card = CacheCard(**json.loads((folder / CARD).read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / CARD}: no card of a latent cache ({error}); delete the folder, build it") from None
    if card.version != VERSION:
        raise InputError(
            f"{folder}: a latent cache of layout {card.version}, this is {VERSION}; delete it, build it again"
        )
    return card


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
        encoder.precision, shard_pairs, conventions=encoder.backbone.conventions.name,
        captions=encoder.captions.sha256 if encoder.captions else "",
    )  # fmt: skip
    folder = Path(folder)
    _claim(folder, card)
    mine = range(share[0], card.shards, share[1])
    missing = [number for number in mine if not is_kept(shard_file(folder, number))]
    for number in tqdm(missing, desc="latent cache", unit="shard", disable=not missing):
        first = number * shard_pairs
        numbers = range(first, min(first + shard_pairs, len(pairs)))
        chosen: Subset[PixelPair] = Subset(cast(Dataset[PixelPair], pairs), numbers)
        with reading(chosen, stacked, workers, "data.workers=0", batch_size=batch_size) as batches:
            tensors, replaced = _shard(batches, encoder)
        file = shard_file(folder, number)
        remove_partial(folder, file.name)
        with written_whole(file) as part:
            save_tensors(tensors, part, {"replaced": str(replaced)} if replaced else None)
    if missing or share[0] == 0:
        _count_replaced(folder, card)


def _claim(folder: Path, card: CacheCard) -> None:
    """Write the card, or compare with the one that is there."""
    if (folder / CARD).is_file():
        there = read_card(folder)
        compared = (field.name for field in fields(card) if field.name != "replaced")
        differing = [name for name in compared if getattr(there, name) != getattr(card, name)]
        if differing:
            raise InputError(
                f"{folder}: a latent cache made with other {', '.join(differing)}; choose another folder or delete it"
            )
        return
    _write(card, folder)


def _write(card: CacheCard, folder: Path) -> None:
    with written_whole(folder / CARD) as part:
        part.write_text(json.dumps(card.document, indent=1) + "\n")


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


def _shard(batches: Iterable[Batch], encoder: LatentEncoder) -> tuple[dict[str, Tensor], int]:
    """The tensors of one file, and how many of its pairs had to be replaced."""
    parts, captions, replaced = list[dict[str, Tensor]](), list[str](), 0
    with fastest_attention(encoder.device):
        for batch in batches:
            assert batch.pixels is not None
            latents = encoder.latents(batch.pixels.to(encoder.device), batch.frame_rates)
            parts.append(_half(latents.tensors()) | {"frame_rate": torch.tensor(batch.frame_rates)})
            captions += batch.captions
            replaced += batch.replaced
        prompts = _prompts(captions, encoder)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | prompts, replaced


def _prompts(captions: list[str], encoder: LatentEncoder) -> dict[str, Tensor]:
    """Each caption embedded once, in the order in which they come."""
    rows = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
    prompt = encoder.prompts(list(rows))
    if prompt is None:
        return {}
    masks = {} if prompt.mask_BL is None else {"prompt_masks": prompt.mask_BL}
    tensors = _half({"prompts": prompt.embeds_BLD} | masks)
    if not tensors["prompts"].isfinite().all():
        raise InputError(
            "captions: their embeddings do not fit float16; use another text encoder or latent_cache=false"
        )
    return tensors | {"prompt_row": torch.tensor([rows[caption] for caption in captions])}


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}


def shard_file(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:05d}.safetensors"
