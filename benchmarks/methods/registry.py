"""Methods by name: those of this package, and those that installed packages add as entry points `worldmodel.methods`.

A method is named by a function `load(options) -> Method` whose one argument is annotated with a dataclass of options.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_type_hints

from worldmodel.benchmarks.methods.method import Method
from worldmodel.errors import InputError
from worldmodel.settings import from_values

GROUP = "worldmodel.methods"
_HERE = "worldmodel.benchmarks.methods"
METHODS: dict[str, str] = {
    "repeat_last": f"{_HERE}.baselines:load_repeat_last",
    "latent_extrapolation": f"{_HERE}.baselines:load_latent_extrapolation",
    "vae_round_trip": f"{_HERE}.baselines:load_vae_round_trip",
    "flowframes": f"{_HERE}.flowframes:load_flowframes",
    "noise_conditioned": f"{_HERE}.flowframes:load_noise_conditioned",
    "ltxv_condition": f"{_HERE}.ltxv_condition:load_ltxv_condition",
    "causvid": f"{_HERE}.causal_recipes:load_causvid",
    "self_forcing": f"{_HERE}.causal_recipes:load_self_forcing",
    "causal_forcing": f"{_HERE}.causal_recipes:load_causal_forcing",
    "vista": f"{_HERE}.vista:load_vista",
    "gem": f"{_HERE}.gem:load_gem",
}


def method_names() -> list[str]:
    """All names, those of installed packages among them."""
    return sorted({*METHODS, *(entry.name for entry in entry_points(group=GROUP))})


def open_method(name: str, options: Mapping[str, Any]) -> Method:
    """The method `name` with these options.

    Raises:
        InputError: no such method, an unknown option or one of another type, or what the method itself complains of.
    """
    load = _loader(name)
    return load(_options(name, load, options))


def check_method(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the method with the values they get; nothing is loaded. Errors of name and options as above."""
    return asdict(_options(name, _loader(name), options))


def _loader(name: str) -> Callable[[Any], Method]:
    if name in METHODS:
        module, _, function = METHODS[name].partition(":")
        return getattr(import_module(module), function)
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return _from_outside(entry)
    raise InputError(f"no method {name!r}{_nearest(name, method_names())}; there are {', '.join(method_names())}")


def _from_outside(entry: EntryPoint) -> Callable[[Any], Method]:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"method {entry.name!r} ({entry.value}) cannot be imported: {error}") from error


def _options(name: str, load: Callable[[Any], Method], given: Mapping[str, Any]) -> Any:
    (options_class,) = (hint for what, hint in get_type_hints(load).items() if what != "return")
    try:
        return from_values(options_class, given)
    except InputError as error:
        raise InputError(f"methods.{name}: {error}") from error


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {near[0]}?)" if near else ""
