"""From `key=value` words and a YAML preset to a checked dataclass; the only place that calls Hydra."""

import re
import types
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from worldmodel.cli.schema import build, schema_of
from worldmodel.cli.words import items_of, unknown_key
from worldmodel.errors import InputError

ConfigT = TypeVar("ConfigT")


def compose(config_class: type[ConfigT], preset: str, words: Sequence[str], folder: Path | None = None) -> ConfigT:
    """The configuration of one verb.

    Args:
        config_class: dataclass of the room that does the work.
        preset: name of the YAML file in `worldmodel/cli/presets`, for example ``train``.
        words: Hydra overrides as typed, for example ``["steps=10", "experiment=tiny"]``.
        folder: searched for further presets (``experiment/NAME.yaml``) beside the shipped ones.

    Raises:
        InputError: unknown or missing key, wrong type, unreadable word, unknown preset.
    """
    return build(config_class, compose_values(config_class, preset, words, folder))


def compose_values(config_class: type, preset: str, words: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """The same as nested dictionaries, where a required key that was not given is still ``???``."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"--config-dir {folder} is no folder: give the folder that holds experiment/NAME.yaml")
    schema = schema_of(config_class)
    ConfigStore.instance().store(name=f"schema_{preset}", node=schema)
    words = [quoted(word, schema) for word in words]
    path = [f"hydra.searchpath=['file://{folder.resolve()}']"] if folder else []
    with initialize_config_module("worldmodel.cli.presets", version_base="1.3"):
        plain = hydra_compose(preset, return_hydra_config=True)
        known = {group for group in plain.hydra.runtime.choices if not group.startswith("hydra/")}
        known |= keys_of(hydra_compose(preset))
        check_words(words, known)
        words = [f"++{word}" if _in_free(word, known) else word for word in words]
        try:
            return OmegaConf.to_container(hydra_compose(preset, overrides=[*path, *words]), resolve=True)  # type: ignore[return-value]
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(in_one_line(error, known)) from error
        except (YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"--config-dir {folder}: a preset is no YAML in UTF-8 ({error}); mend the file") from error


def keys_of(config: DictConfig, prefix: str = "") -> set[str]:
    """All dotted keys; an entry `name.*` marks a dictionary that takes any key."""
    keys = set()
    for name in map(str, config):
        keys.add(f"{prefix}{name}")
        node = None if OmegaConf.is_missing(config, name) else config[name]
        if isinstance(node, DictConfig):
            free = OmegaConf.get_type(node) is dict
            keys |= {f"{prefix}{name}.*"} if free else keys_of(node, f"{prefix}{name}.")
    return keys


def check_words(words: Sequence[str], known: set[str]) -> None:
    """Refuses what Hydra would pass over or explain in five lines."""
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise InputError(f"cannot read {word!r}: write key=value, odd text as key='\"...\"'") from error
        refuse_unknown(override, known)
        if override.is_sweep_override():
            key = override.key_or_group
            raise InputError(f"{word!r} reads as several runs: for a list write '{key}=[a,b]', for text quote it")


def refuse_unknown(override: Override, known: set[str]) -> None:
    key = override.key_or_group.replace("/", ".")
    if key not in known and not _in_free(key, known):
        raise InputError(unknown_key(key, known))
    if override.type == OverrideType.DEL:
        raise InputError(f"key {key!r} cannot be removed: give it a value, {key}=...")


def _in_free(word: str, known: set[str]) -> bool:
    """Whether the key lies in a dictionary that takes any key."""
    key = word.partition("=")[0]
    return any(f"{key[: match.start()]}.*" in known for match in re.finditer(r"\.", key))


def in_one_line(error: BaseException, known: set[str]) -> str:
    """What Hydra and OmegaConf explain in a paragraph, with the key's name in front."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    text, key = str(error), getattr(root, "full_key", None)
    stray = re.search(r"Key '([^']+)' not in", str(root))
    if stray:
        where = re.match(r"In '([^']+)'", text)
        return (f"{where[1]}.yaml: " if where else "") + unknown_key(key or stray[1], known)
    group = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if group:
        options = re.findall(r"^\t([\w-]+)$", text, flags=re.M)
        return f"no preset {group[1]}={group[2]}: choose one of {', '.join(options)}"
    first = " ".join((str(root).splitlines() or [""])[0].split())
    return f"{key}: {first}" if key else " ".join(text.split())


def quoted(word: str, schema: type) -> str:
    """Text keys and lists of text take their values as typed: `video=/drives/Zürich (1).mp4` needs no quotes.

    Where a key takes any value, what Hydra cannot read as one value is text: a path with ``=`` and ``,`` in it.
    """
    match = re.fullmatch(r"([A-Za-z_][\w.]*)=(.+)", word, flags=re.S)
    if match is None or match[2] == "null":
        return word
    key, text = match.groups()
    arms = _arms(schema, key)
    if arms <= {str, Path, type(None)}:
        return f"{key}={_as_text(text)}"
    lists = [arm for arm in arms if get_origin(arm) in (tuple, list)]
    if any(set(get_args(arm)) <= {str, Path, Ellipsis} for arm in lists) and re.fullmatch(r"\[.*\]", text, flags=re.S):
        return f"{key}=[{','.join(map(_as_text, items_of(text)))}]"
    if arms == {object} and not _is_one_value(word):
        return f"{key}={_as_text(text)}"
    return word


def _arms(schema: type, key: str) -> set[Any]:
    """The types that a dotted key may have; `object` below a dictionary that takes any key."""
    hint: Any = schema
    for part in key.split("."):
        hint = get_type_hints(hint).get(part, object) if is_dataclass(hint) else object
    return set(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else {hint}


def _is_one_value(word: str) -> bool:
    try:
        return not OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False


def _as_text(text: str) -> str:
    """In quotes of Hydra's grammar, unless it has some."""
    if text[:1] in ("'", '"'):
        return text
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", "\\'")
    return f"'{escaped}'"
