"""The public face: ten names that load when used, and errors that Python callers may catch by their usual kinds."""

import subprocess
import sys

import pytest

import worldmodel
from worldmodel.errors import InputError, MissingDependency, RunFailed, UserError


def test_every_public_name_is_there() -> None:
    assert len(worldmodel.__all__) == 10
    for name in worldmodel.__all__:
        assert callable(getattr(worldmodel, name)), name
        assert name in dir(worldmodel)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no name 'FlowFrame'; it has FlowFramesPipeline"):
        _ = worldmodel.FlowFrame  # type: ignore[attr-defined]


def test_the_import_alone_loads_nothing_heavy() -> None:
    code = "import sys, worldmodel; print([n for n in ('torch', 'diffusers', 'rerun', 'hydra') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_errors_are_of_the_kinds_that_callers_catch() -> None:
    kinds = {InputError: ValueError, MissingDependency: ImportError, RunFailed: RuntimeError}
    assert all(issubclass(error, (kind)) and issubclass(error, UserError) for error, kind in kinds.items())
