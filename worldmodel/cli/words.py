"""From `key=value` words to a checked dataclass with the standard library alone.

For the verbs that run where neither Hydra nor torch is (`Verb.plain`): flat dataclasses, no presets. What is refused
is refused as `compose` does it.
"""

import dataclasses
import difflib
import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from worldmodel.errors import InputError
from worldmodel.files import expanded

ConfigT = TypeVar("ConfigT")

MISSING = "???"
MANY = "..."
TRUTH = {"true": True, "false": False}
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def from_words(config_class: type[ConfigT], words: Sequence[str], positional: tuple[str, ...] = ()) -> ConfigT:
    """The configuration of one verb.

    Args:
        config_class: dataclass with fields of text, `Path`, int, float, bool, `Literal`, one of these or None, or a
            tuple of one of these.
        words: ``key=value``, lists as ``key=[a,b]``, and bare words.
        positional: keys of the bare words in their order; a key ending in ``...`` takes as many as are over.

    Raises:
        InputError: unknown or missing key, a value of another type, or a bare word too many.
    """
    given = values_of(config_class, words, positional)
    for name, value in given.items():
        if value == MISSING:
            raise InputError(f"key {name!r} has no value: add {name}=...")
    return config_class(**given)


def values_of(config_class: type, words: Sequence[str], positional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same as a dictionary, where a required key that was not given is still ``???``."""
    hints, values = get_type_hints(config_class), defaults_of(config_class)
    for key, text in assigned(words, positional, set(values)):
        if key not in values:
            remedy = f"; a file name with = is written ./{key}={text}" if positional else ""
            raise InputError(unknown_key(key, set(values)) + remedy)
        values[key] = typed(hints[key], text, key)
    return values


def defaults_of(config_class: type) -> dict[str, Any]:
    """Every key with its default, or ``???``."""
    values = {}
    for field in dataclasses.fields(config_class):
        if field.default is not dataclasses.MISSING:
            values[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        else:
            values[field.name] = MISSING
    return values


def assigned(words: Sequence[str], positional: tuple[str, ...], known: set[str]) -> list[tuple[str, str | list[str]]]:
    """Key and text of each word; bare words stand for the positional keys that are not written out."""
    bare = [word for word in words if is_bare(word, known)]
    pairs: list[tuple[str, str | list[str]]] = []
    for word in words:
        if word not in bare:
            key, _, text = word.partition("=")
            pairs.append((key, text))
    keys = {key for key, _ in pairs}
    return named(bare, tuple(key for key in positional if key.removesuffix(MANY) not in keys)) + pairs


def is_bare(word: str, known: set[str]) -> bool:
    """Whether a word gives a value alone: no `=` in it, or one that belongs to a path, as in `./lr=1e-4/drive.mp4`."""
    key, equals, _ = word.partition("=")
    return not equals or "/" in key or (key.partition(".")[0] not in known and Path(word).exists())


def named(bare: list[str], positional: tuple[str, ...]) -> list[tuple[str, str | list[str]]]:
    """Bare words with their keys: those before ``key...`` from the front, those after it from the back."""
    many = next((place for place, key in enumerate(positional) if key.endswith(MANY)), None)
    if many is None:
        if len(bare) > len(positional):
            raise InputError(f"cannot read {bare[len(positional)]!r}: write key=value")
        return list(zip(positional, bare, strict=False))
    after = len(positional) - many - 1
    front, rest = bare[:many], bare[many:]
    back = rest[len(rest) - after :] if after and len(rest) > after else []
    over = rest[: len(rest) - len(back)]
    pairs: list[tuple[str, str | list[str]]] = [*zip(positional, front, strict=False)]
    pairs += [(positional[many].removesuffix(MANY), over)] if over else []
    return pairs + [*zip(positional[many + 1 :], back, strict=False)]


def typed(hint: Any, text: str | list[str], key: str) -> Any:
    """`text` as annotated by `hint`; `InputError` names the key."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if text == "null" else typed(next(arm for arm in arms if arm is not type(None)), text, key)
    if origin is tuple:
        return listed(arms, text, key)
    if not isinstance(text, str):
        raise InputError(f"{key}=[{','.join(text)}]: give one value")
    if origin is Literal:
        if text not in arms:
            raise InputError(f"{key}={text}: choose one of {', '.join(map(str, arms))}")
        return text
    if hint in (str, Path):
        return hint(at_home(unquoted(text), key))
    try:
        return TRUTH[text.lower()] if hint is bool else hint(text)
    except (KeyError, ValueError):
        raise InputError(f"{key}={text}: give {KINDS[hint]}") from None


def listed(arms: tuple[Any, ...], text: str | list[str], key: str) -> tuple[Any, ...]:
    """A tuple from several words or from ``[a,b]``."""
    if isinstance(text, str):
        if not (text.startswith("[") and text.endswith("]")):
            raise InputError(f"{key}={text}: for a list write '{key}=[a,b]'")
        text = items_of(text)
    if arms[-1] is not Ellipsis and len(arms) != len(text):
        raise InputError(f"{key}=[{','.join(text)}]: give {len(arms)} values, {key}=[{','.join('…' * len(arms))}]")
    kinds = arms if arms[-1] is not Ellipsis else [arms[0]] * len(text)
    return tuple(typed(kind, item, key) for kind, item in zip(kinds, text, strict=True))


def items_of(text: str) -> list[str]:
    """The items of ``[a,b]`` as typed: at commas outside quotes, without the spaces around them."""
    items, quote = [""], ""
    for letter in text[1:-1]:
        if letter == "," and not quote:
            items.append("")
            continue
        if letter == quote:
            quote = ""
        elif letter in "'\"" and not items[-1].strip():
            quote = letter
        items[-1] += letter
    return [item.strip() for item in items] if text[1:-1].strip() else []


def at_home(text: str, key: str) -> str:
    """Text that begins with ``~`` and a slash as the path that it is; shells leave it alone behind a ``=``.

    A prompt is no path.
    """
    if not (text == "~" or text.startswith("~/")) or key.endswith("prompt"):
        return text
    try:
        return str(expanded(text))
    except InputError as error:
        raise InputError(f"{key}={error}") from None


def as_yaml(values: dict[str, Any]) -> str:
    """One line a key, as `--cfg` shows it; JSON's values are YAML's."""
    lines = [
        f"{key}: {value if value == MISSING else json.dumps(value, default=str)}\n" for key, value in values.items()
    ]
    return "".join(lines)


def unquoted(text: str) -> str:
    """Text as typed, without the quotes that other verbs allow around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def unknown_key(key: str, known: set[str]) -> str:
    """One line with the key and the nearest valid ones; `name.*` stands for any key below `name`."""
    names = sorted(name for name in known if not name.endswith(".*"))
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    return f"unknown key {key!r}: {hint}"
