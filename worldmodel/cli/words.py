"""From `key=value` words to plain values, as the annotations of a dataclass suggest; the standard library alone.

A word that does not read as its key's type stays text: `worldmodel.settings` refuses it as it refuses any other value.
"""

import re
import types
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from worldmodel.errors import InputError
from worldmodel.settings import fields_of, hints_of, unknown_key

MANY = "..."
LITERALS = {"true": True, "false": False, "null": None}
WHOLE = re.compile(r"[+-]?(0|[1-9]\d*(_\d+)*)")
QUOTED = re.compile(r"""(['"])((?:\\.|(?!\1).)*)\1""", flags=re.S)
BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}

Word = str | list[str]


def given_values(
    kind: type, words: Sequence[str], positional: tuple[str, ...] = (), groups: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """What the words say: values, nested as `kind` is, and the words that choose a preset.

    Args:
        kind: dataclass whose keys the words set; keys of its parts are dotted.
        words: ``key=value``, lists as ``key=[a,b]``, and bare words.
        positional: keys of the bare words in their order; a key ending in ``...`` takes as many as are over.
        groups: of presets, for example ``experiment``.

    Raises:
        InputError: an unknown key, a bare word too many, or text where a list belongs.
    """
    known = dotted_keys(kind) | set(groups)
    values: dict[str, Any] = {}
    chosen: list[str] = []
    for key, text in assigned(words, positional, known):
        key = without_plus(kind, key)
        if key in groups:
            chosen.append(f"{key}={text}")
        elif (hint := hint_at(kind, key)) is None:
            remedy = f"; a file name with = is written ./{key}={text}" if positional else ""
            raise InputError(unknown_key(key, known) + remedy)
        else:
            merge(values, nested(key, read(hint, text, key)))
    return values, chosen


def dotted_keys(kind: Any, prefix: str = "") -> set[str]:
    """All keys of a dataclass, those of its parts with dots."""
    keys = set()
    for name in fields_of(kind):
        keys.add(prefix + name)
        hint = bare(hints_of(kind)[name])
        if is_dataclass(hint):
            keys |= dotted_keys(hint, f"{prefix}{name}.")
    return keys


def hint_at(kind: type, key: str) -> Any:
    """The annotation of a dotted key, None where there is no such key; `Any` below a dictionary that takes any."""
    hint: Any = kind
    for name in key.split("."):
        hint = bare(hint)
        if is_dataclass(hint):
            hint = hints_of(hint)[name] if name in fields_of(hint) else None
        elif get_origin(hint) is dict:
            hint = get_args(hint)[1]
        elif hint is not Any:
            return None
    return hint


def bare(hint: Any) -> Any:
    """An annotation without its rules."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def without_plus(kind: type, key: str) -> str:
    """Without the signs by which Hydra adds keys: ``++key`` anywhere, ``+key`` where a dictionary takes any key."""
    name = key.lstrip("+")
    parent = name.rpartition(".")[0]
    free = bool(parent) and not is_dataclass(bare(hint_at(kind, parent)))
    return name if key.startswith("++") or free else key


def nested(key: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` for the key ``a.b``."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    """Put `more` into `values`, dictionaries into dictionaries."""
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merge(values[name], value)
        else:
            values[name] = value


def assigned(words: Sequence[str], positional: tuple[str, ...], known: set[str]) -> list[tuple[str, Word]]:
    """Key and text of each word; bare words stand for the positional keys that are not written out."""
    loose = [word for word in words if is_bare(word, known)]
    pairs: list[tuple[str, Word]] = []
    for word in words:
        if re.fullmatch(r"~[A-Za-z_][\w.]*", word):
            refuse_removal(word[1:], known)
        if word not in loose:
            key, _, text = word.partition("=")
            pairs.append((key, text))
    keys = {key for key, _ in pairs}
    return named(loose, tuple(key for key in positional if key.removesuffix(MANY) not in keys)) + pairs


def refuse_removal(key: str, known: set[str]) -> None:
    if key not in known:
        raise InputError(unknown_key(key, known))
    raise InputError(f"key {key!r} cannot be removed: give it a value, {key}=...")


def is_bare(word: str, known: set[str]) -> bool:
    """Whether a word gives a value alone: no `=` in it, or one that belongs to a path, as in `./lr=1e-4/drive.mp4`."""
    key, equals, _ = word.partition("=")
    return not equals or "/" in key or (key.lstrip("+").partition(".")[0] not in known and Path(word).exists())


def named(loose: list[str], positional: tuple[str, ...]) -> list[tuple[str, Word]]:
    """Bare words with their keys: those before ``key...`` from the front, those after it from the back."""
    many = next((place for place, key in enumerate(positional) if key.endswith(MANY)), None)
    if many is None:
        if len(loose) > len(positional):
            raise InputError(f"cannot read {loose[len(positional)]!r}: write key=value")
        return list(zip(positional, loose, strict=False))
    after = len(positional) - many - 1
    front, rest = loose[:many], loose[many:]
    back = rest[len(rest) - after :] if after and len(rest) > after else []
    over = rest[: len(rest) - len(back)]
    pairs: list[tuple[str, Word]] = [*zip(positional, front, strict=False)]
    pairs += [(positional[many].removesuffix(MANY), over)] if over else []
    return pairs + [*zip(positional[many + 1 :], back, strict=False)]


def read(hint: Any, text: Word, key: str) -> Any:
    """`text` as the value that `hint` suggests, or as the text that it is; `null` is no text, `'null'` is."""
    hint = bare(hint)
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return read_optional(arms, text, key)
    if origin in (tuple, list):
        items = text if isinstance(text, list) else items_of_list(text, key)
        hints = arms[:1] * len(items) if origin is list or arms[-1] is Ellipsis else [*arms, *[str] * len(items)]
        return [read(hint, item, key) for hint, item in zip(hints, items, strict=False)]
    if isinstance(text, list):
        raise InputError(f"{key}=[{','.join(text)}]: give one value")
    if hint is Any or origin is dict or is_dataclass(hint):
        return any_value(text)
    return None if text == "null" else read_one(hint, unquoted(text))


def read_optional(arms: tuple[Any, ...], text: Word, key: str) -> Any:
    if text == "null" and type(None) in arms:
        return None
    readings = [read(arm, text, key) for arm in arms if arm is not type(None)]
    return next((reading for reading in readings if not isinstance(reading, str)), readings[-1])


def read_one(hint: Any, text: str) -> Any:
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if get_origin(hint) is Literal:
        return next((choice for choice in get_args(hint) if str(choice) == text), text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text


def items_of_list(text: str, key: str) -> list[str]:
    if not (text.startswith("[") and text.endswith("]")):
        raise InputError(f"{key}={text}: for a list write '{key}=[a,b]'")
    return items_of(text)


def items_of(text: str, brackets: bool = False) -> list[str]:
    """The items of ``[a,b]`` as typed: at commas outside quotes, without the spaces around them.

    Args:
        brackets: commas within inner brackets belong to an item.
    """
    items, quote, depth = [""], "", 0
    for letter in text[1:-1]:
        depth += BRACKETS.get(letter, 0) if brackets and not quote else 0
        if letter == "," and not quote and not depth:
            items.append("")
            continue
        if letter == quote:
            quote = ""
        elif letter in "'\"" and not quote and not items[-1].strip():
            quote = letter
        items[-1] += letter
    return [item.strip() for item in items] if text[1:-1].strip() else []


def any_value(text: str) -> Any:
    """What stands where any value may: a list, a dictionary, a number, true, false, null, or else text."""
    text = text.strip()
    if text[:1] + text[-1:] == "[]":
        return [any_value(item) for item in items_of(text, brackets=True)]
    if text[:1] + text[-1:] == "{}":
        pairs = [item.partition(":") for item in items_of(text, brackets=True)]
        return {unquoted(name.strip()): any_value(value) for name, _, value in pairs}
    if text.lower() in LITERALS:
        return LITERALS[text.lower()]
    if WHOLE.fullmatch(text):
        return int(text)
    if re.fullmatch(r"[\d.+_-]+(e[+-]?\d+)?|[+-]?(inf|nan)", text, flags=re.I) and not re.fullmatch(r"[+-]?\d+", text):
        return read_one(float, text)
    return unquoted(text)


def unquoted(text: str) -> str:
    """Text as typed, without the quotes that may stand around it."""
    match = QUOTED.fullmatch(text)
    return text if match is None else match[2].replace(f"\\{match[1]}", match[1])
