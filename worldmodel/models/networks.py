"""Where the two networks of a checkpoint lie: in diffusers' folders, in the authors' official files, or apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from worldmodel.backbones.components import load_component
from worldmodel.backbones.official import GivenConfig, OfficialFiles
from worldmodel.backbones.weights import Weights
from worldmodel.errors import InputError
from worldmodel.files import expanded, read_json
from worldmodel.models.families import FAMILIES, Family, family_of_class, titles

LoadNetwork = Callable[[torch.dtype | None, torch.device | str], Any]
"""load(dtype, device); dtype None is as stored."""


@dataclass(frozen=True)
class NetworkFiles:
    """The two networks of a family, each read when its loader is called."""

    family: Family
    load_vae: LoadNetwork
    load_transformer: LoadNetwork


def network_files(place: Path, config: GivenConfig = None, vae: Path | None = None) -> NetworkFiles:
    """The networks in a diffusers folder, or in a folder or file of official weights.

    `config` and `vae` are for the latter; see `worldmodel.models.open.open_backbone`. Raises `InputError` for a place
    that holds none.
    """
    if place.is_dir() and (place / "transformer" / "config.json").is_file():
        return _in_folders(place)
    return _in_official_files(place, config, vae)


def lone_transformer(
    family: Family, folder: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Any:
    """A transformer of this family that was saved alone: `folder` or its `transformer` has config.json and weights.

    Raises:
        InputError: a folder without it, a transformer of another family, or weights that do not fit.
    """
    folder = expanded(folder)
    place = folder / "transformer" if (folder / "transformer" / "config.json").is_file() else folder
    if not (place / "config.json").is_file():
        raise InputError(
            f"transformer={folder}: no config.json in it; give the folder that holds config.json and "
            "diffusion_pytorch_model.safetensors"
        )
    name, expected = read_json(place / "config.json").get("_class_name"), family.transformer.__name__
    if name != expected:
        raise InputError(f"transformer={folder}: is a {name}, its base takes {expected}; give one of that family")
    return load_component(family.transformer, place, dtype, device)


def _in_folders(folder: Path) -> NetworkFiles:
    path = folder / "transformer" / "config.json"
    name = read_json(path).get("_class_name")
    family = family_of_class("transformer", name)
    if family is None:
        raise InputError(f"{path}: {name} is not a known transformer; use {titles()}")
    return NetworkFiles(
        family,
        partial(load_component, family.vae, folder / "vae"),
        partial(load_component, family.transformer, folder / "transformer"),
    )


def _in_official_files(place: Path, config: GivenConfig, vae: Path | None) -> NetworkFiles:
    published = [(family, family.official) for family in FAMILIES.values() if family.official is not None]
    file = _transformer_file(place, published) if place.is_dir() else place
    weights = Weights(file)
    for family, official in published:
        if official.are_in(weights):
            vae_file = file if official.vae_file is None else vae or file.with_name(official.vae_file)
            return NetworkFiles(
                family,
                partial(official.load_vae, vae_file, config),
                partial(official.load_transformer, file, config),
            )
    (first, official), *others = published
    known = [f"{first.title}'s keys ({official.key})"]
    known += [f"{family.title}'s ({official.key})" for family, official in others]
    raise InputError(f"{file}: neither {' nor '.join(known)}; give an official or diffusers checkpoint")


def _transformer_file(folder: Path, published: list[tuple[Family, OfficialFiles]]) -> Path:
    """The official file of a transformer in a folder of official files; the VAE's lies beside it."""
    names = [official.transformer_file for _, official in published if official.transformer_file is not None]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    folders = [
        f"{family.title}'s ({official.transformer_file}, {official.vae_file})"
        for family, official in published
        if official.transformer_file is not None
    ]
    files = [f"the {family.title} .safetensors" for family, official in published if official.transformer_file is None]
    raise InputError(
        f"{folder}: neither a diffusers folder (vae/, transformer/) nor {' nor '.join(folders)}; name "
        f"{' or '.join(files)} file itself"
    )
