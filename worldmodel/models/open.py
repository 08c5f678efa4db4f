"""The one way in which every verb opens a model.

pipeline = open_pipeline("tiny")
pipeline = open_pipeline("LTX-Video-0.9.5", transformer="FlowC2S-ltxv", conventions="published")
pipeline = open_pipeline("random wan tiny")
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.official import GivenConfig
from worldmodel.checkpoints import shipped, shipped_names
from worldmodel.conventions import conventions_of
from worldmodel.errors import InputError, first_line, whole_message
from worldmodel.files import expanded, read_json
from worldmodel.measure.report import Record
from worldmodel.models.checkpoint import downloaded, is_ours, place_of, random_weights
from worldmodel.models.families import Family, family_named, family_of_class, titles
from worldmodel.models.networks import lone_transformer, network_files
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.pipeline import FlowFramesPipeline

DESIGNS: dict[object, type[FlowFramesPipeline]] = {
    design.__name__: design for design in (FlowFramesPipeline, NoiseConditionedPipeline)
}
"""Classes of pipeline by the name that a saved folder has of them."""


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
            folder or file of official weights, a hub id, or `random FAMILY SIZES` for weights drawn anew.
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
        # Random weights are made where they stay; those of files are read on the CPU and moved once.
        made_on = chosen if random_weights(checkpoint) is not None else "cpu"
        own = None if transformer is None else Path(transformer)
        backbone = open_backbone(place or str(checkpoint), family, dtype or torch.float32, made_on, transformer=own)
        pipeline = (kind or FlowFramesPipeline).from_backbone(backbone)
    pipeline.following(conventions, **options)
    if pipeline.device != chosen:
        pipeline.to(chosen)
    return pipeline


def open_backbone(
    checkpoint: str | Path,
    family: str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    *,
    vae_dtype: torch.dtype | None = None,
    config: GivenConfig = None,
    vae: Path | None = None,
    transformer: Path | None = None,
    **options: Any,
) -> Backbone:
    """The networks of a checkpoint without what surrounds them; `checkpoint` as in `open_pipeline`.

    Args:
        family: ltx or wan, where it must be that one.
        dtype: of the transformer; None is as stored. vae_dtype: of the VAE; None is `dtype`.
        config: of official files, in the official words, in place of the one that they carry; a file without any must
            hold the published LTX 2B 0.9.5 or Wan 2.1 1.3B.
        vae: path of `Wan2.1_VAE.pth` where it does not lie beside the transformer.
        transformer: a folder with one that was trained alone; it takes the place of the checkpoint's own.
        options: of the backbone's constructor.

    Raises:
        InputError: a checkpoint that cannot be found or read, or the first missing, extra or misshapen key.
    """
    if family is not None:
        family_named(family)
    random = random_weights(checkpoint)
    if random is not None:
        _refuse_another_family(checkpoint, random.family, family)
        return random.family.random_backbone(random.sizes, dtype or torch.float32, device)
    place = expanded(checkpoint)
    if not place.exists():
        place = shipped(str(checkpoint)) if str(checkpoint) in shipped_names() else downloaded(str(checkpoint))
    files = network_files(place, config, vae)
    _refuse_another_family(checkpoint, files.family, family)
    own = files.load_transformer if transformer is None else partial(lone_transformer, files.family, transformer)
    make_backbone: Any = files.family.backbone
    backbone: Backbone = make_backbone(files.load_vae(vae_dtype or dtype, device), own(dtype, device), **options)
    return backbone


def open_text_encoder(source: str, family: Family) -> tuple[Any, Any]:
    """Text encoder and tokenizer of a diffusers folder or hub id, in bfloat16; None twice where it has none."""
    import transformers

    folder = expanded(source)
    if folder.exists() and not all((folder / name).is_dir() for name in ("text_encoder", "tokenizer")):
        return None, None
    place = str(folder) if folder.exists() else source
    try:
        encoder = getattr(transformers, family.text_encoder).from_pretrained(
            place, subfolder="text_encoder", dtype=torch.bfloat16
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, subfolder="tokenizer")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{source}: its text encoder does not load ({first_line(error)}); download it again") from None
    return encoder.requires_grad_(False).eval(), tokenizer


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


def _saved(
    folder: Path,
    transformer: str | None,
    kind: type[FlowFramesPipeline] | None,
    dtype: torch.dtype | None,
) -> FlowFramesPipeline:
    from diffusers.utils import logging

    index = read_json(folder / "model_index.json")
    given: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if transformer is not None:
        family = _family_of_index(index, folder)
        given["transformer"] = lone_transformer(family, Path(transformer), dtype or torch.float32)
    logging.disable_progress_bar()  # of components that load in an instant
    try:
        design = kind or DESIGNS.get(index.get("_class_name"), FlowFramesPipeline)
        return design.from_pretrained(folder, local_files_only=True, **given)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = whole_message(error, 300)
        raise InputError(f"checkpoint {folder}: does not load ({reason}); save the pipeline again") from error
    finally:
        logging.enable_progress_bar()


def _family_of_index(index: Record, folder: Path) -> Family:
    entry = index.get("vae")
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    family = family_of_class("vae", name)
    if family is None:
        known = ", ".join(shipped_names())
        raise InputError(f"checkpoint {folder}: its vae is {name}; give a base of {titles()}, or one of {known}")
    return family


def _refuse_another_family(checkpoint: str | Path, holds: Family, wanted: str | None) -> None:
    if wanted not in (None, holds.name):
        raise InputError(f"{checkpoint}: holds {holds.name}, not {wanted}; leave family out or give the other source")
