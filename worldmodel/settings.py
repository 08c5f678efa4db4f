"""From values to dataclasses, strictly and in one way, whoever gives the values.

A dataclass that derives from `Settings` says what a field takes in its annotation, `steps: Count = 1450`, and what
fields must be together in its own `__post_init__`: Python callers are told what the command line is told.
`from_values` makes such a dataclass, or any other, from the plain values of a command line or a preset;
`from_document` does so for a JSON document, whose faults are told as facts about it. Standard library only, since the
verbs of a vehicle read their settings and manifests with it.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from worldmodel.errors import InputError

KindT = TypeVar("KindT")


@dataclass(frozen=True)
class Rule:
    """What holds for a value beside its type, and the remedy where it does not."""

    holds: Callable[[Any], bool]
    remedy: str


def within(least: float, most: float = math.inf, remedy: str = "") -> Rule:
    """A rule for numbers, both ends included."""
    limits = f"use at least {least}" if most == math.inf else f"use a number from {least} to {most}"
    return Rule(lambda value: least <= value <= most and value < math.inf, remedy or limits)


def one_of(*words: str) -> Rule:
    """A rule for words of a list, where `Literal` would not do."""
    return Rule(lambda value: value in words, f"choose of {', '.join(words)}")


NAMES: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path",
    tuple: "a list", list: "a list", dict: "a dictionary",
}  # fmt: skip
OBJECT = "an object with keys"  # what a JSON document calls a dictionary

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

    Lists become tuples, paths text and whole numbers floats where the annotation says so, as from the command line. A
    class that is part of another says where, `class DataConfig(Settings, prefix="data.")`, so that messages name the
    key as it is typed.

    Raises:
        InputError: a value of another type, out of range, or none of the choices; it names the key and the remedy.
    """

    key_prefix: ClassVar[str] = ""

    def __init_subclass__(cls, prefix: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if prefix is not None:
            cls.key_prefix = prefix

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            # the dataclasses are frozen
            object.__setattr__(self, field.name, converted(hints[field.name], value, self.key_prefix + field.name))


class Misfit(InputError):
    """A value that is not as annotated: said as advice about a setting, and in `document` as a fact about a file."""

    def __init__(self, setting: str, document: str) -> None:
        super().__init__(setting)
        self.document = document


def from_values(kind: type[KindT], values: Any, key: str = "") -> KindT:
    """The dataclass `kind` from a dictionary of plain values, nested as the dataclass is.

    Args:
        key: where the dictionary itself lies, for example ``data``; empty for the outermost.

    Raises:
        InputError: an unknown key, with the near ones; a missing key; a value that `converted` refuses.
    """
    if not isinstance(values, Mapping):
        raise _misfit(key, values, f"a {kind.__name__}", OBJECT)
    hints, known = hints_of(kind), fields_of(kind)
    for name in values:
        if name not in known:
            place = _below(key, name)
            raise Misfit(unknown_key(place, {_below(key, each) for each in known}), f"unknown key {place!r}")
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"key {_below(key, name)!r} is missing")
    return kind(**{str(name): converted(hints[name], value, _below(key, name)) for name, value in values.items()})


def from_document(kind: type[KindT], content: Any, where: str, remedy: str) -> KindT:
    """The dataclass `kind` from what JSON gave.

    Args:
        where: names the place in messages, for example ``manifest.json``.
        remedy: ends every message.

    Raises:
        InputError: as `from_values`.
    """
    try:
        return from_values(kind, content)
    except Misfit as error:
        raise InputError(f"{where}: {error.document}; {remedy}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}; {remedy}") from None


def converted(hint: Any, value: Any, key: str) -> Any:
    """`value` as `hint` says: the same, but for lists that become tuples, paths, whole numbers, and dataclasses.

    Args:
        hint: text, `Path`, int, float, bool, `Any`, `Literal`, a dataclass; tuples, lists and dictionaries of these;
            `Annotated` with rules; a union of these, with None where the value may be left out.
        key: as it is typed; in messages only.

    Raises:
        Misfit: a value of another type, out of range, or none of the choices; it names the key and the remedy.
    """
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _ruled(arms[1:], converted(arms[0], value, key), value, key)
    if origin in (Union, types.UnionType):
        return _union(arms, value, key)
    if origin is Literal:
        if not any(type(value) is type(arm) and value == arm for arm in arms):
            raise _misfit(key, value, f"one of {', '.join(map(str, arms))}", verb="choose")
        return value
    if origin is tuple:
        return _tuple(arms, value, key)
    if origin is list and isinstance(value, list):
        return [converted(arms[0], item, f"{key}[{place}]") for place, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return {str(name): converted(arms[1], item, _below(key, name)) for name, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and not isinstance(value, hint):
        return from_values(hint, value, key)
    return _plain(origin or hint, value, key)


def _ruled(rules: Iterable[Any], value: Any, given: Any, key: str) -> Any:
    for rule in rules:
        if isinstance(rule, Rule) and not rule.holds(value):
            raise Misfit(f"{_typed(key)}={shown(given)}: {rule.remedy}", f"{key} is {_brief(given)}: {rule.remedy}")
    return value


def _union(arms: tuple[Any, ...], value: Any, key: str) -> Any:
    optional = type(None) in arms
    if value is None and optional:
        return None
    *earlier, last = (arm for arm in arms if arm is not type(None))
    for arm in earlier:
        with contextlib.suppress(Misfit):
            return converted(arm, value, key)
    try:
        return converted(last, value, key)
    except Misfit as error:
        raise Misfit(f"{error}, or leave it out" if optional else str(error), error.document) from None


def _tuple(arms: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise _misfit(key, value, NAMES[tuple])
    if arms[-1] is Ellipsis:
        arms = arms[:1] * len(value)
    if len(arms) != len(value):
        example = f"{_typed(key)}=[{','.join('…' * len(arms))}]"
        raise Misfit(
            f"{_typed(key)}={shown(value)}: give {len(arms)} values, {example}",
            f"{key} has {len(value)} values, not {len(arms)}",
        )
    items = enumerate(zip(arms, value, strict=True))
    return tuple(converted(arm, item, f"{key}[{place}]") for place, (arm, item) in items)


def _plain(kind: Any, value: Any, key: str) -> Any:
    if kind is Any:
        return value
    if kind in (int, float) and isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool):
        return kind(value)  # numpy's numbers are no JSON
    if kind in (str, Path) and isinstance(value, (str, os.PathLike)):
        return kind(os.fspath(value))
    if kind in (int, float) or not isinstance(value, kind):
        document = OBJECT if kind is dict or dataclasses.is_dataclass(kind) else None
        raise _misfit(key, value, NAMES.get(kind, f"a {kind.__name__}"), document)
    return value


def _misfit(key: str, value: Any, wanted: str, document: str | None = None, verb: str = "give") -> Misfit:
    place = key or "its content"
    return Misfit(
        f"{_typed(place)}={shown(value)}: {verb} {wanted}", f"{place} is {_brief(value)}, not {document or wanted}"
    )


def _typed(key: str) -> str:
    """A key as it is typed: a list has one, its items have none."""
    return re.sub(r"\[\d+\]", "", key)


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def hints_of(kind: Any) -> dict[str, Any]:
    """The annotations of a dataclass by field, with their rules."""
    return _hints_of(kind)


def fields_of(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    """The fields that make a dataclass, by name."""
    return _fields_of(kind)


# Apart from the two above, as mypy holds that the class of a dataclass has no hash.
@functools.cache
def _hints_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@functools.cache
def _fields_of(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in fields(kind) if field.init}


def keys_marked(kind: type, metadata: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys of the fields, those of parts too, whose metadata are these; a part that is marked is one key."""
    keys = set()
    for name, field in fields_of(kind).items():
        if metadata.items() <= field.metadata.items():
            keys.add(prefix + name)
        elif dataclasses.is_dataclass(part := hints_of(kind)[name]):
            keys |= keys_marked(part, metadata, f"{prefix}{name}.")  # type: ignore[arg-type]
    return keys


def unknown_key(key: str, known: Iterable[str]) -> str:
    """One line with the key and the nearest valid ones."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    return f"unknown key {key!r}: " + (
        f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    )


def shown(value: Any) -> str:
    """A value as it may be typed after `key=`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(shown(item) for item in value) + "]"
    return str(value)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
