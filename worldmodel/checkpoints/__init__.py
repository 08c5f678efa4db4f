"""Pipelines that come with the package, each a folder with a model card (`README.md`)."""

from pathlib import Path

from worldmodel.errors import InputError

HERE = Path(__file__).parent


def shipped_names() -> list[str]:
    """What comes with the package."""
    return sorted(index.parent.name for index in HERE.glob("*/model_index.json"))


def shipped(name: str) -> Path:
    """Folder of the shipped pipeline `name`; raises `InputError` listing what there is."""
    if name not in shipped_names():
        known = ", ".join(shipped_names())
        raise InputError(f"checkpoint={name}: no such folder and none of the shipped checkpoints: {known}")
    return HERE / name
