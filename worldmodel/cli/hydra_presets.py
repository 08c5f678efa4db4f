"""What a preset says, beneath what was typed: the only place that calls Hydra."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from worldmodel.cli.presets import GROUPS
from worldmodel.cli.words import dotted_keys, hint_at
from worldmodel.errors import InputError
from worldmodel.settings import unknown_key

NAME = "settings_of_a_verb"


def with_presets(
    kind: type, defaults: dict[str, Any], chosen: Sequence[str], given: dict[str, Any], folder: Path | None
) -> dict[str, Any]:
    """Defaults, then the presets that were chosen, then the values that were typed; interpolations resolved.

    Args:
        chosen: words such as ``experiment=tiny``.
        folder: searched for presets beside the shipped ones.

    Raises:
        InputError: no such folder or preset, one that cannot be read, or an unknown key in it.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"--config-dir {folder} is no folder: give the folder that holds experiment/NAME.yaml")
    for word in chosen:
        if "," in word:
            raise InputError(f"{word!r} reads as several runs: choose one preset")
    ConfigStore.instance().store(NAME, {"defaults": ["_self_", *({group: None} for group in GROUPS)], **defaults})
    path = [f"hydra.searchpath=['file://{folder.resolve()}']"] if folder else []
    try:
        with initialize_config_module("worldmodel.cli.presets", version_base="1.3"):
            composed = hydra_compose(NAME, overrides=[*path, *chosen])
        OmegaConf.set_struct(composed, False)
        refuse_unknown(kind, OmegaConf.to_container(composed), chosen)
        return OmegaConf.to_container(OmegaConf.merge(composed, given), resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(in_one_line(error)) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config-dir {folder}: a preset is no YAML in UTF-8 ({error}); mend the file") from error


def refuse_unknown(kind: type, values: Any, chosen: Sequence[str], prefix: str = "") -> None:
    """Raise `InputError` for a key that only a preset can have brought, with the preset's name."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if hint_at(kind, key) is None:
            where = f"{chosen[-1].replace('=', '/')}.yaml: " if chosen else ""
            raise InputError(where + unknown_key(key, dotted_keys(kind)))
        if isinstance(value, dict):
            refuse_unknown(kind, value, chosen, f"{key}.")


def in_one_line(error: BaseException) -> str:
    """What Hydra and OmegaConf explain in a paragraph, with the key's name in front."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    text, key = str(error), getattr(root, "full_key", None)
    group = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if group:
        options = re.findall(r"^\t([\w-]+)$", text, flags=re.M)
        return f"no preset {group[1]}={group[2]}: choose one of {', '.join(options)}"
    first = " ".join((str(root).splitlines() or [""])[0].split())
    return f"{key}: {first}" if key else " ".join(text.split())
