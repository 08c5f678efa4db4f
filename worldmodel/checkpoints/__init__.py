"""Pipelines that come with the package, each a folder with a model card (`README.md`)."""

from pathlib import Path

from worldmodel.errors import InputError


def shipped(name: str) -> Path:
    """Folder of the shipped pipeline `name`; raises `InputError` listing what there is."""
    here = Path(__file__).parent
    names = sorted(index.parent.name for index in here.glob("*/model_index.json"))
    if name not in names:
        raise InputError(f"checkpoint={name}: no such folder and none of the shipped checkpoints: {', '.join(names)}")
    return here / name
