"""What settings may be: every configuration checks itself, so that Python is told what the command line is told.

A dataclass that derives from `Settings` says what a field takes in its annotation, `steps: Count = 1450`, and what
fields must be together in its own `__post_init__`. The command line's converters see plain types, since
`typing.get_type_hints` leaves annotations out unless asked for them. Standard library only.
"""

import functools
import math
import os
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from worldmodel.errors import InputError


@dataclass(frozen=True)
class Rule:
    """What holds for a value beside its type, and the remedy where it does not."""

    holds: Callable[[Any], bool]
    remedy: str


def within(least: float, most: float = math.inf, remedy: str = "") -> Rule:
    """A rule for numbers, both ends included."""
    said = f"use at least {least}" if most == math.inf else f"use a number from {least} to {most}"
    return Rule(lambda value: least <= value <= most and value < math.inf, remedy or said)


def one_of(*words: str) -> Rule:
    """A rule for words of a list, where `Literal` would not do."""
    return Rule(lambda value: value in words, f"choose of {', '.join(words)}")


NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a dictionary"}

Count = Annotated[int, within(1)]
Natural = Annotated[int, within(0)]
Seed = Annotated[int, within(0, 2**32 - 1)]
Port = Annotated[int, within(1, 2**16 - 2)]  # the recording takes the one after it
NotNegative = Annotated[float, within(0)]
Share = Annotated[float, within(0, 1)]
Number = Annotated[float, Rule(math.isfinite, "give a finite number")]
Positive = Annotated[float, Rule(lambda value: 0 < value < math.inf, "use a number above 0")]
Decay = Annotated[float, Rule(lambda value: 0 <= value < 1, "use a number from 0 to below 1")]
Text = Annotated[str, Rule(lambda value: bool(value.strip()), "give a text that is not empty")]
Device = Annotated[
    str,
    Rule(lambda value: bool(re.fullmatch(r"auto|cpu|cuda(:\d+)?", value)), "use auto, cpu, cuda or cuda:N"),
]
Size = Annotated[tuple[int, int], Rule(lambda value: min(value) >= 1, "use at least 1 pixel each way")]
Texts = Annotated[tuple[Text, ...], Rule(bool, "give at least one")]
Counts = Annotated[tuple[Count, ...], Rule(bool, "give at least one")]
Seconds = Annotated[float, within(0, remedy="give seconds from the first frame, 0 or more")]


class Settings:
    """Base of configurations: `__post_init__` checks every field by its annotation.

    Lists become tuples and paths become text, as from the command line; nothing else is changed. A class that is part
    of another says where, `class DataConfig(Settings, prefix="data.")`, so that messages name the key as it is typed.

    Raises:
        InputError: a value of another type, out of range, or none of the choices; it names the key and the remedy.
    """

    key_prefix: ClassVar[str] = ""

    def __init_subclass__(cls, prefix: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if prefix is not None:
            cls.key_prefix = prefix

    def __post_init__(self) -> None:
        own: Any = type(self)  # mypy takes the class for no key of a cache
        hints = _hints(own)
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            checked_value = checked(hints[field.name], value, self.key_prefix + field.name)
            if checked_value is not value:
                object.__setattr__(self, field.name, checked_value)  # the dataclasses are frozen


@functools.cache
def _hints(settings: Any) -> dict[str, Any]:
    return get_type_hints(settings, include_extras=True)


def checked(hint: Any, value: Any, key: str) -> Any:
    """`value` as `hint` says; `InputError` names `key` and the remedy."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = checked(arms[0], value, key)
        broken = next((rule for rule in hint.__metadata__ if isinstance(rule, Rule) and not rule.holds(value)), None)
        if broken is not None:
            raise InputError(f"{key}={shown(value)}: {broken.remedy}")
        return value
    if origin in (Union, types.UnionType):
        return value if value is None else _given(arms, value, key)
    if origin is Literal:
        if not any(type(value) is type(arm) and value == arm for arm in arms):
            raise InputError(f"{key}={shown(value)}: choose one of {', '.join(map(str, arms))}")
        return value
    if origin is tuple:
        return _tuple(arms, value, key)
    return _plain(origin or hint, value, key)


def _given(arms: tuple[Any, ...], value: Any, key: str) -> Any:
    """What may be left out."""
    (arm,) = (arm for arm in arms if arm is not type(None))
    try:
        return checked(arm, value, key)
    except InputError as error:
        raise InputError(f"{error}, or leave it out") from None


def _tuple(arms: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise InputError(f"{key}={shown(value)}: give a list")
    if arms[-1] is Ellipsis:
        return tuple(checked(arms[0], one, key) for one in value)
    if len(arms) != len(value):
        raise InputError(f"{key}={shown(value)}: give {len(arms)} values, {key}=[{','.join('…' * len(arms))}]")
    return tuple(checked(arm, one, key) for arm, one in zip(arms, value, strict=True))


def _plain(kind: Any, value: Any, key: str) -> Any:
    if kind is Any:
        return value
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if kind in (int, float) and isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool):
        return value if isinstance(value, (int, float)) else kind(value)  # numpy's numbers are no JSON
    if kind in (int, float) or not isinstance(value, kind):
        raise InputError(f"{key}={shown(value)}: give {NAMES.get(kind, f'a {kind.__name__}')}")
    return value


def shown(value: Any) -> str:
    """A value as it may be typed after `key=`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(shown(item) for item in value) + "]"
    return str(value)
