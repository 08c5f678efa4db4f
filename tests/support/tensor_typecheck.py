"""The checker that jaxtyping puts on the functions of `worldmodel` that name a tensor's shape, under pytest.

Plain annotations are mypy's: to check them here as well cost every process that collects tests 13 s of CPU time. Ints
pass where floats are annotated, as in every type checker.
"""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_typed = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked where an annotation of it names a shape."""
    shapes = any("jaxtyping" in repr(annotation) for annotation in function.__annotations__.values())
    return _typed(function) if shapes else function
