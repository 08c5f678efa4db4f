"""From `key=value` words, and a preset where a verb has them, to the checked dataclass of a verb."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NONE
from dataclasses import Field, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from worldmodel.cli.presets import GROUPS
from worldmodel.cli.words import bare, given_values, merge
from worldmodel.errors import InputError
from worldmodel.files import expanded
from worldmodel.settings import fields_of, from_values, hints_of

ConfigT = TypeVar("ConfigT")

MISSING = "???"
"""Stands in shown settings, and may stand in a preset, for a value that must be given."""

PLAIN_TEXT = re.compile(r"[A-Za-z_/](:(?! )|[\w ./@?-])*(?<![ :])")
OTHER_THAN_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def compose(
    kind: type[ConfigT],
    words: Sequence[str],
    positional: tuple[str, ...] = (),
    presets: bool = False,
    folder: Path | None = None,
) -> ConfigT:
    """The settings of one verb.

    Args:
        kind: dataclass of the room that does the work.
        words: as typed, for example ``["steps=10", "experiment=tiny"]``.
        positional: keys of bare words, see `given_values`.
        presets: whether ``experiment=NAME`` may be among the words; Hydra is imported only then.
        folder: searched for further presets (``experiment/NAME.yaml``) beside the shipped ones.

    Raises:
        InputError: unknown or missing key, wrong type, unreadable word, unknown preset.
    """
    values = composed_values(kind, words, positional, presets, folder)
    refuse_missing(values)
    return from_values(kind, values)


def composed_values(
    kind: type,
    words: Sequence[str],
    positional: tuple[str, ...] = (),
    presets: bool = False,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The same as nested dictionaries, where a required key that was not given is still ``???``."""
    values, groups = defaults_of(kind), GROUPS if presets else ()
    given, chosen = given_values(kind, words, positional, groups)
    if presets:
        from worldmodel.cli.hydra_presets import with_presets

        values = with_presets(kind, values, chosen, given, folder)
    else:
        merge(values, given)
    return {key: at_home(value, key) for key, value in values.items()}


def defaults_of(kind: Any) -> dict[str, Any]:
    """Every key with its default, or ``???``, parts as dictionaries."""
    return {name: _default_of(field, bare(hints_of(kind)[name])) for name, field in fields_of(kind).items()}


def _default_of(field: Field[Any], hint: Any) -> Any:
    value = field.default if field.default_factory is NONE else field.default_factory()
    if value is NONE:
        return defaults_of(hint) if is_dataclass(hint) else MISSING
    return _plain(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in fields_of(type(value))}
    return list(value) if isinstance(value, tuple) else value


def refuse_missing(values: Mapping[str, Any], prefix: str = "") -> None:
    """Raise `InputError` that names the first key without a value."""
    for name, value in values.items():
        if value == MISSING:
            raise InputError(f"key {prefix + name!r} has no value: add {prefix}{name}=...")
        if isinstance(value, Mapping):
            refuse_missing(value, f"{prefix}{name}.")


def at_home(value: Any, key: str) -> Any:
    """A value in which every text that begins with ``~/`` is the path that it is, however deep it lies.

    Shells leave it alone behind a ``=``. A prompt is no path.
    """
    if isinstance(value, (list, tuple)):
        return [at_home(item, key) for item in value]
    if isinstance(value, dict):
        return {name: at_home(item, f"{key}.{name}") for name, item in value.items()}
    if not isinstance(value, str) or not (value == "~" or value.startswith("~/")) or key.endswith("prompt"):
        return value
    try:
        return str(expanded(value))
    except InputError as error:
        raise InputError(f"{key}={error}") from None


def as_yaml(values: Mapping[str, Any], indent: str = "") -> str:
    """Settings as `--cfg` shows them, which may be saved as a preset."""
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{indent}{name}:\n{as_yaml(value, indent + '  ')}")
        elif isinstance(value, (list, tuple)) and value:
            items = "".join(f"{indent}- {_scalar(item)}\n" for item in value)
            lines.append(f"{indent}{name}:\n{items}")
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    """JSON, which is YAML too, but for text that needs no quotes and for 1e-05, which YAML takes for text."""
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    plain = isinstance(value, str) and PLAIN_TEXT.fullmatch(value) and value.lower() not in OTHER_THAN_TEXT
    return str(value) if plain or value == MISSING else json.dumps(value, ensure_ascii=False, default=str)
