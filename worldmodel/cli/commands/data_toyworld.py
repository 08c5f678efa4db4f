"""`worldmodel data toyworld`: a plain dataclass and function."""

from dataclasses import dataclass, fields
from pathlib import Path

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.settings import Text


@dataclass(frozen=True)
class ToyWorldVerb(ToyWorldConfig):
    """A toy dataset and its place.

    Attributes:
        root: folder of the dataset; one made by the same recipe is kept as it is.
        overwrite: replace whatever is at `root`.
    """

    root: Text = "data/toyworld"
    overwrite: bool = False


def toyworld(config: ToyWorldVerb) -> None:
    """Makes the dataset, or finds it made.

    Raises:
        InputError: something else at `root`, or no renderer.
    """
    recipe = ToyWorldConfig(**{field.name: getattr(config, field.name) for field in fields(ToyWorldConfig)})
    root = make_toyworld(Path(config.root), recipe, overwrite=config.overwrite)
    print(f"{root}: {config.version}, {config.train_scenes} training and {config.val_scenes} validation scenes")
