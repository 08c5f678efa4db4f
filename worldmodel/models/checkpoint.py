"""What the name of a checkpoint stands for: a path, a shipped model, random weights, or an id on the hub."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from worldmodel.checkpoints import shipped
from worldmodel.errors import InputError, first_line
from worldmodel.files import expanded, file_sha256, read_json
from worldmodel.measure.hashes import folder_hash
from worldmodel.models.families import FAMILIES, ChunkSize, Family, Sizes, family_named

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES = ("model_index.json", "config.json", "vae/*", "transformer/*")


@dataclass(frozen=True)
class RandomWeights:
    """Weights drawn anew, for memory and latency: as a checkpoint it is called `random FAMILY SIZES`."""

    family: Family
    sizes: Sizes


def random_weights(checkpoint: str | Path) -> RandomWeights | None:
    """What `random`, `random FAMILY` or `random FAMILY SIZES` asks for (LTX's published network); None for other names.

    Raises:
        InputError: another family or size.
    """
    first, *rest = str(checkpoint).split(" ")
    if first != "random" or len(rest) > 2:
        return None
    family, sizes = (*rest, *("ltx", "real")[len(rest) :])
    for known in get_args(Sizes):
        if sizes == known:
            return RandomWeights(family_named(family), known)
    raise InputError(f"checkpoint={checkpoint}: no such size; choose {', '.join(get_args(Sizes))}")


def place_of(checkpoint: str | Path) -> Path | None:
    """The file or folder of a checkpoint, of a shipped one by its name; None for a hub id and for random weights.

    Raises:
        InputError: none of these.
    """
    if random_weights(checkpoint) is not None:
        return None
    place = expanded(checkpoint)
    if place.exists():
        return place
    # A name below a folder that is there is a path with a slip in it, and the hub is not asked.
    return None if is_hub_id(str(checkpoint)) and not place.parent.is_dir() else shipped(str(checkpoint))


def checkpoint_hashes(checkpoint: str, transformer: str | None) -> dict[str, str | None]:
    """sha256 of the files of both, None where there are none on this machine."""
    hashes: dict[str, str | None] = {"checkpoint_sha256": _hash(place_of(checkpoint))}
    return hashes if transformer is None else hashes | {"transformer_sha256": _hash(expanded(transformer))}


def _hash(place: Path | None) -> str | None:
    if place is None:
        return None
    return folder_hash(place) if place.is_dir() else file_sha256(place)


def trained_chunk(checkpoint: str | Path, family: Family) -> ChunkSize:
    """Frames, and height and width, of a chunk as `training.json` beside the weights says; else the paper's.

    Raises:
        InputError: no such checkpoint, or such a file that does not say it.
    """
    place = place_of(checkpoint)
    if place is None or not (card := place / "training.json").is_file():
        return family.chunk
    try:
        trained = json.loads(card.read_text())["config"]["data"]
        lengths = trained["frames"]  # a number, or several lengths of chunk
        frames = int(lengths[0] if isinstance(lengths, list) else lengths)
        return frames, (int(trained["size"][0]), int(trained["size"][1]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{card}: no config.data.frames and config.data.size in it; give frames= and size=") from error


def is_ours(place: Path | None) -> bool:
    """Whether this package saved the folder: it then has its cached prompts and options."""
    index = None if place is None else place / "model_index.json"
    return index is not None and index.is_file() and "backbone_name" in read_json(index)


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form owner/model."""
    return bool(_HUB_ID.fullmatch(name))


def downloaded(name: str) -> Path:
    """The hub's files of the networks, fetched or found in its cache.

    Raises:
        InputError: no hub id, or the hub did not give it; one line says why.
    """
    if not is_hub_id(name):
        raise InputError(f"{name}: no such file or folder; give a path, or a hub id like Lightricks/LTX-Video-0.9.5")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    official = [family.official for family in FAMILIES.values() if family.official is not None]
    names = [name for files in official for name in (files.transformer_file, files.vae_file) if name is not None]
    try:
        return Path(snapshot_download(name, allow_patterns=[*_HUB_FILES, *names]))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{name}: not a local path, and the hub did not give it ({first_line(error)}); pass the downloaded folder"
        ) from None
