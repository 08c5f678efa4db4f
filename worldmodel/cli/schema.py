"""The mutable twin of a plain dataclass that Hydra sees, and the way back.

The dataclasses of the rooms stay plain: they may be frozen, use `Literal`, tuples, nested dataclasses and required
fields. OmegaConf refuses some of these, so it is shown a twin with the same keys.
"""

import dataclasses
import functools
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING

from worldmodel.cli.words import at_home
from worldmodel.errors import InputError

ConfigT = TypeVar("ConfigT")


@functools.cache
def schema_of(config_class: type) -> type:
    """A mutable dataclass with the same keys and with types that OmegaConf knows."""
    hints = get_type_hints(config_class)
    fields = [
        (field.name, hydra_type(hints[field.name]), hydra_default(field, hints[field.name]))
        for field in dataclasses.fields(config_class)
        if field.init
    ]
    return dataclasses.make_dataclass(config_class.__name__, fields, kw_only=True)


def hydra_type(hint: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return schema_of(hint)
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(hydra_type(arm) for arm in get_args(hint))]  # noqa: UP007
    return hint


def hydra_default(field: dataclasses.Field, hint: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return dataclasses.field(default_factory=schema_of(hint))  # its own required keys stay missing
    else:
        return dataclasses.field(default=MISSING)
    if dataclasses.is_dataclass(value):
        twin = schema_of(hint)
        shallow = {part.name: getattr(value, part.name) for part in dataclasses.fields(value) if part.init}
        return dataclasses.field(default_factory=lambda: twin(**shallow))
    return dataclasses.field(default_factory=lambda: value)


def build(config_class: type[ConfigT], values: dict[str, Any], prefix: str = "") -> ConfigT:
    """The real dataclass from composed values; every required key must have one, every choice must be allowed.

    Raises:
        InputError: naming the key.
    """
    hints = get_type_hints(config_class)
    return config_class(**{name: typed(hints[name], value, prefix + name) for name, value in values.items()})


def typed(hint: Any, value: Any, key: str) -> Any:
    if value == MISSING:
        raise InputError(f"key {key!r} has no value: add {key}=...")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, f"{key}.")
    if get_origin(hint) in (Union, types.UnionType):
        arms = [arm for arm in get_args(hint) if arm is not type(None)]
        return typed(arms[0], value, key) if value is not None and len(arms) == 1 else with_home(value, key)
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise InputError(f"{key}={value}: choose one of {', '.join(map(str, get_args(hint)))}")
    if get_origin(hint) is tuple:
        return as_tuple(get_args(hint), value, key)
    return with_home(value, key)


def as_tuple(arms: tuple[Any, ...], value: list[Any], key: str) -> tuple[Any, ...]:
    if arms[-1] is not Ellipsis and len(arms) != len(value):
        raise InputError(f"{key}={value}: give {len(arms)} values, {key}=[{','.join('…' * len(arms))}]")
    return tuple(with_home(list(value), key))


def with_home(value: Any, key: str) -> Any:
    """A value in which every text that begins with ``~/`` is the path that it is, however deep it lies."""
    if isinstance(value, str):
        return at_home(value, key)
    if isinstance(value, Path):
        return Path(at_home(str(value), key))
    if isinstance(value, list):
        return [with_home(item, key) for item in value]
    if isinstance(value, dict):
        return {name: with_home(item, f"{key}.{name}") for name, item in value.items()}
    return value
