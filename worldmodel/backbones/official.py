"""Official checkpoints: one module's weights under the authors' own key names, with the configuration they carry.

A family describes its two modules as `OfficialPart`s and its files as `OfficialFiles`. Configurations are in the words
of the official files; sources: LTX-Video `causal_video_autoencoder.py` and `transformer3d.py`, Wan2.1
`modules/model.py` and `modules/vae.py`, diffusers `loaders/single_file_utils.py`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from worldmodel.backbones.components import empty_module
from worldmodel.backbones.weights import Weights, load_strictly
from worldmodel.errors import InputError
from worldmodel.files import read_json

Config = Mapping[str, Any]
GivenConfig = Config | Path | str | None
"""Entries `transformer` and `vae` in official words, or a JSON file with them; None is what the weights carry."""


@dataclass(frozen=True)
class OfficialPart:
    """One of the two modules in a family's official files.

    Attributes:
        name: its entry in a configuration.
        cls: the diffusers class.
        arguments: of that class, from the part's configuration; the path is named in errors.
        file_key: for a module, the map from its parameters' names to the file's, without prefix.
        published: configuration of the published model, which a file without any must hold.
        size_key, size: a tensor of the published model, by whose shape it is known.
        prefix: of all its keys in the file.
        unused: names of tensors that no one reads.
    """

    name: Literal["vae", "transformer"]
    cls: Any
    arguments: Callable[[Config, Path], dict[str, Any]]
    file_key: Callable[[Any], Callable[[str], str]]
    published: Config
    size_key: str
    size: tuple[int, ...]
    prefix: str = ""
    unused: frozenset[str] = frozenset()

    def load(
        self,
        weights: Weights,
        config: GivenConfig = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> Any:
        """The module in `weights`, strictly; `dtype` None keeps the file's.

        Raises:
            InputError: a configuration that is missing or not supported, or the first key that differs.
        """
        part = self.config_of(weights, config)
        module = empty_module(self.cls, lambda: self.cls(**self.arguments(part, weights.path)), weights.path)
        load_strictly(module, weights, self.file_key(module), self.prefix, self.unused, dtype, device)
        return module

    def as_published(self) -> Any:
        """The module in its published size, with new weights."""
        return self.cls(**self.arguments(self.published, Path("the published model")))

    def config_of(self, weights: Weights, config: GivenConfig = None) -> Config:
        """What is given, else what the file carries, else the published one where the file may hold that model."""
        entries: object = read_json(Path(config)) if isinstance(config, (str, Path)) else config
        if entries is None and "config" in weights.metadata:
            try:
                entries = json.loads(weights.metadata["config"])
            except ValueError:
                raise InputError(f"{weights.path}: metadata config is not JSON; give config= instead") from None
        if entries is None:
            self._refuse_another_size(weights)
            return self.published
        if not isinstance(entries, Mapping) or not isinstance(entries.get(self.name), Mapping):
            raise InputError(f"{weights.path}: its configuration has no {self.name!r}; give config= with it")
        part: Config = entries[self.name]
        return part

    def _refuse_another_size(self, weights: Weights) -> None:
        key = self.prefix + self.size_key
        if key in weights.names and weights.shape(key) != self.size:
            raise InputError(
                f"{weights.path}: carries no configuration and {key} is not {list(self.size)} as in the published "
                "model; give config="
            )


@dataclass(frozen=True)
class OfficialFiles:
    """A family's weights as its authors publish them.

    Attributes:
        key: a name that only its transformer's file has.
        load_vae, load_transformer: read a module from its file.
        transformer_file, vae_file: names of two files in one folder; None where one file holds both modules.
    """

    key: str
    load_vae: "LoadPart"
    load_transformer: "LoadPart"
    transformer_file: str | None = None
    vae_file: str | None = None

    def are_in(self, weights: Weights) -> bool:
        """Whether a file of this family's transformer has these names, under whatever prefix."""
        last_two = ".".join(self.key.split(".")[-2:])
        return any(name.endswith(last_two) for name in weights.names)


LoadPart = Callable[[Path, GivenConfig, torch.dtype | None, "torch.device | str"], Any]
"""load(path, config, dtype, device)"""


def require(config: Config, fixed: Config, where: str) -> None:
    """Refuse a configuration whose entries, where it has them, are not the `fixed` ones that a class computes."""
    for name, value in fixed.items():
        given = config.get(name, value)
        if (list(given) if isinstance(given, (list, tuple)) else given) != value:
            raise InputError(f"{where}.{name} is {given!r}: only {value!r} is supported; use a file that has it")


def entries_of(config: Config, where: str, *names: str) -> dict[str, Any]:
    """Entries that must be there, by name."""
    for name in names:
        if name not in config:
            raise InputError(f"{where}.{name} is missing; add it, in the official file's words")
    return {name: config[name] for name in names}
