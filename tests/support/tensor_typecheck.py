"""The checker that jaxtyping puts on every annotated function of `worldmodel` under pytest.

Ints pass where floats are annotated, as in every type checker. Configurations check their fields themselves, which
tests are to see: their generated `__init__` is left alone.
"""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

CONFIGURATIONS = ("Config", "Options", "Verb")
_typed = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked unless it is the generated `__init__` of a configuration."""
    generated = function.__name__ == "__init__" and function.__code__.co_filename == "<string>"
    if generated and function.__qualname__.removesuffix(".__init__").endswith(CONFIGURATIONS):
        return function
    return _typed(function)
