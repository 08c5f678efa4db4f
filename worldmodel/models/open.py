"""The one way in which every verb opens a model.

pipeline = open_pipeline("tiny")
pipeline = open_pipeline("LTX-Video-0.9.5", transformer="FlowC2S-ltxv", conventions="published")
"""

import json
from pathlib import Path
from typing import Any

import torch

from worldmodel.backbones.loading import FAMILIES, is_hub_id, load_backbone, read_json, transformer_of
from worldmodel.checkpoints import shipped, shipped_names
from worldmodel.conventions import conventions_of
from worldmodel.errors import InputError
from worldmodel.files import expanded, file_sha256
from worldmodel.measure.hashes import folder_hash
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.published import ChunkSize, published_chunk


def open_pipeline(
    checkpoint: str | Path,
    transformer: str | None = None,
    conventions: str | None = None,
    *,
    kind: type[FlowFramesPipeline] | None = None,
    family: str | None = None,
    dtype: torch.dtype | None = None,
    device: str = "auto",
    text: bool = True,
    **options: float | None,
) -> FlowFramesPipeline:
    """The pipeline that `checkpoint` holds, on `device`.

    Args:
        checkpoint: a shipped name, a pipeline folder (of this package, or diffusers' of LTX-Video and Wan 2.1), a
            folder or file of official weights, or a hub id.
        transformer: a folder with one that was trained alone; it takes the place of the checkpoint's own.
        conventions: `paper` or `published`; None is what the checkpoint was saved with, else paper.
        kind: of pipeline; None is what was saved.
        family: ltx or wan, where it must be that one.
        dtype: of the weights; None is float32.
        text: load the text encoder of a folder that has one.
        options: of `FlowFramesPipeline` beside these: decode_timestep, decode_noise_scale, fixed_rate; None is as saved
            or as the conventions say.

    Raises:
        InputError: no such checkpoint or device, or something in it that does not load.
    """
    chosen, place = chosen_device(device), place_of(checkpoint)
    if conventions is not None:
        conventions_of(conventions)
    if place is not None and (place / "model_index.json").is_file() and (text or is_ours(place)):
        pipeline = _saved(place, transformer, kind, dtype)
    else:
        if place is not None and (place / "scheduler").is_dir() and not (place / "model_index.json").is_file():
            # opened by its networks alone it would predict with another schedule, and nobody would see it
            raise InputError(f"{place}: a saved pipeline without its model_index.json; restore that file")
        own = None if transformer is None else Path(transformer)
        backbone = load_backbone(place or str(checkpoint), family, dtype or torch.float32, transformer=own)
        pipeline = (kind or FlowFramesPipeline).from_backbone(backbone)
    pipeline.following(conventions, **options)
    return pipeline.to(chosen)


def place_of(checkpoint: str | Path) -> Path | None:
    """The file or folder of a checkpoint, of a shipped one by its name; None for a hub id.

    Raises:
        InputError: neither a path, a shipped name nor a hub id.
    """
    place = expanded(checkpoint)
    if place.exists():
        return place
    # A name below a folder that is there is a path with a slip in it, and the hub is not asked.
    return None if is_hub_id(str(checkpoint)) and not place.parent.is_dir() else shipped(str(checkpoint))


def checkpoint_folder(name: str) -> Path:
    """The folder of a saved pipeline, or that of a shipped checkpoint of this name.

    Raises:
        InputError: neither is there.
    """
    folder = expanded(name)
    if not folder.is_dir():
        return shipped(name)
    if not (folder / "model_index.json").is_file():
        raise InputError(f"checkpoint={name}: no model_index.json in it; give the folder of a saved pipeline, or tiny")
    return folder


def checkpoint_hashes(checkpoint: str, transformer: str | None) -> dict[str, str | None]:
    """sha256 of the files of both, None where there are none on this machine."""
    hashes: dict[str, str | None] = {"checkpoint_sha256": _hash(place_of(checkpoint))}
    return hashes if transformer is None else hashes | {"transformer_sha256": _hash(expanded(transformer))}


def _hash(place: Path | None) -> str | None:
    if place is None:
        return None
    return folder_hash(place) if place.is_dir() else file_sha256(place)


def trained_chunk(checkpoint: Path | None, family: str) -> ChunkSize:
    """Frames, and height and width, of a chunk as `training.json` beside the weights says; the paper's for that family
    where there is none."""
    if checkpoint is None or not (card := checkpoint / "training.json").is_file():
        return published_chunk(family)
    try:
        trained = json.loads(card.read_text())["config"]["data"]
        lengths = trained["frames"]  # a number, or several lengths of chunk
        frames = int(lengths[0] if isinstance(lengths, list) else lengths)
        return frames, (int(trained["size"][0]), int(trained["size"][1]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{card}: no config.data.frames and config.data.size in it; give frames= and size=") from error


def chosen_device(device: str) -> torch.device:
    """`auto` resolved; raises `InputError` for a device that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"device={device}: no such device; use auto, cpu, cuda or cuda:N") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(chosen.type, 0)
    if (chosen.index or 0) >= there:
        raise InputError(f"device={device}: this machine has {torch.cuda.device_count()} CUDA devices; use device=cpu")
    return chosen


def is_ours(place: Path | None) -> bool:
    """Whether this package saved the folder: it then has its cached prompts and options."""
    index = None if place is None else place / "model_index.json"
    return index is not None and index.is_file() and "backbone_name" in read_json(index)


def _saved(
    folder: Path,
    transformer: str | None,
    kind: type[FlowFramesPipeline] | None,
    dtype: torch.dtype | None,
) -> FlowFramesPipeline:
    from diffusers.utils import logging

    index = read_json(folder / "model_index.json")
    saved_as = (
        NoiseConditionedPipeline if index.get("_class_name") == "NoiseConditionedPipeline" else FlowFramesPipeline
    )
    given: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if transformer is not None:
        given |= {"transformer": transformer_of(_family(index, folder), Path(transformer), dtype or torch.float32)}
    logging.disable_progress_bar()  # of components that load in an instant
    try:
        return (kind or saved_as).from_pretrained(folder, local_files_only=True, **given)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"checkpoint {folder}: does not load ({reason}); save the pipeline again") from error
    finally:
        logging.enable_progress_bar()


def _family(index: dict[str, Any], folder: Path) -> str:
    entry = index.get("vae")
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    for family, (_, vae, _) in FAMILIES.items():
        if vae.__name__ == name:
            return family
    known = ", ".join(shipped_names())
    raise InputError(f"checkpoint {folder}: its vae is {name}; give a base of LTX-Video or Wan 2.1, or one of {known}")
