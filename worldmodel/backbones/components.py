"""The two networks of a model in diffusers' layout, a folder each; loaded strictly, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights

from worldmodel.backbones.weights import Weights, load_strictly, weight_files
from worldmodel.errors import InputError
from worldmodel.files import read_json


def load_component(
    cls: Any,
    folder: Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Any:
    """One model of a diffusers folder: `config.json` and safetensors weights, whole or in shards.

    Raises:
        InputError: a configuration of another class, or the first missing, extra or misshapen key.
    """
    path = folder / "config.json"
    config = read_json(path)
    if config.get("_class_name") != cls.__name__:
        raise InputError(f"{path}: is a {config.get('_class_name')}, {cls.__name__} expected")
    module = empty_module(cls, lambda: cls.from_config(config), path)
    load_strictly(module, Weights(weight_files(folder)), dtype=dtype, device=device)
    return module


def empty_module(cls: Any, make: Callable[[], Any], path: Path) -> Any:
    """What `make` builds of class `cls`, without memory for its weights; errors name `path`.

    Its buffers are real, for no file holds all of them.
    """
    try:
        with init_empty_weights(include_buffers=False):
            return make().eval()
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: no {cls.__name__} has this configuration ({reason}); check its entries") from None
