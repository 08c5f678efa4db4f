"""Plain JSON values to frozen dataclasses and back, strictly: no key too many or too few, no value of another type."""

import dataclasses
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from worldmodel.errors import InputError

KindT = TypeVar("KindT")


def built(kind: type[KindT], value: Any, where: str, remedy: str) -> KindT:
    """The dataclass `kind` from what JSON gave.

    Args:
        where: names the place in messages, for example ``manifest.json``.
        remedy: ends every message.

    Raises:
        InputError: an unknown or missing key, or a value of another type than annotated.
    """
    try:
        return typed(kind, value, "")
    except ValueError as error:
        raise InputError(f"{where}: {error}; {remedy}") from None


def typed(hint: Any, value: Any, key: str) -> Any:
    """`value` as annotated by `hint`; lists become tuples, whole numbers pass as floats; `ValueError` names `key`."""
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, key)
    origin, arms = get_origin(hint), get_args(hint)
    if origin is dict and isinstance(value, dict):
        return {str(name): typed(arms[1], one, _below(key, name)) for name, one in value.items()}
    if origin is tuple and isinstance(value, list):
        return _tuple(arms, value, key)
    if origin in (Union, types.UnionType):
        return _one_of(arms, value, key)
    if origin is Literal and value in arms and type(value) in map(type, arms):
        return value
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{key or 'its content'} is {_shown(value)}, not {_named(hint)}")


def _dataclass(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{key or 'its content'} is {_shown(value)}, not an object with keys")
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for name in value:
        if name not in names:
            raise ValueError(f"unknown key {_below(key, name)!r}")
    for name in names:
        if name not in value:
            raise ValueError(f"key {_below(key, name)!r} is missing")
    return kind(**{name: typed(hints[name], value[name], _below(key, name)) for name in names})


def _tuple(arms: tuple[Any, ...], value: list[Any], key: str) -> tuple[Any, ...]:
    if arms[-1] is Ellipsis:
        return tuple(typed(arms[0], one, f"{key}[{place}]") for place, one in enumerate(value))
    if len(arms) != len(value):
        raise ValueError(f"{key} has {len(value)} values, not {len(arms)}")
    return tuple(typed(arm, one, f"{key}[{place}]") for place, (arm, one) in enumerate(zip(arms, value, strict=True)))


def _one_of(arms: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and type(None) in arms:
        return None
    wanted = [arm for arm in arms if arm is not type(None)]
    for arm in wanted[:-1]:
        try:
            return typed(arm, value, key)
        except ValueError:
            continue
    return typed(wanted[-1], value, key)


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _named(hint: Any) -> str:
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, arms))}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(hint) or {tuple: "a list", dict: "an object with keys"}.get(origin) or str(hint)
