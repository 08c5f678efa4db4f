"""What a toy world is made of: sizes, counts and the seed; equal recipes give equal bytes."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from worldmodel.errors import InputError
from worldmodel.settings import Count, Natural, Number, Seed, Settings, Size, Text, within

GENERATOR = 2
"""Version of the scenery and the drawing; to be raised by whatever changes a pixel or a table.

In 1 all frames lay 1/12 s apart; since 2 the cameras fire as the real ones do (`firing`).
"""


@dataclass(frozen=True)
class ToyWorldConfig(Settings):
    """A toy dataset.

    Attributes:
        train_scenes, val_scenes: scenes of each split; kinds (straight, curve, turn, ...) take turns.
        seconds: length of a scene. seed: everything random follows from it.
        size: width and height of the pictures; nuScenes' 1600 x 900 scaled down by default.
        version: name of the nuScenes version, the folder of tables.
        workers: processes that draw. jpeg_quality: 1 to 100.
    """

    train_scenes: Natural = 4
    val_scenes: Natural = 5
    seconds: Number = 6.0
    seed: Seed = 0
    size: Size = (480, 270)
    version: Text = "v1.0-toy"
    workers: Count = 2
    jpeg_quality: Annotated[int, within(1, 100)] = 90

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_scenes + self.val_scenes == 0:
            raise InputError("train_scenes=0 val_scenes=0: ask for at least one scene")
        if self.seconds < 0.5:
            raise InputError(f"seconds={self.seconds}: a scene needs at least 0.5 s, one keyframe interval")
        if min(self.size) < 16:
            raise InputError(f"size={list(self.size)}: use at least [16,16], as width and height")

    def recipe(self) -> dict[str, object]:
        """What decides the bytes: all but the number of processes."""
        kept = {key: value for key, value in asdict(self).items() if key != "workers"}
        recipe: dict[str, object] = json.loads(json.dumps({"generator": GENERATOR, **kept}))
        return recipe

    def scenes(self) -> list[tuple[str, int, str]]:
        """(split, index within the split, name) of every scene."""
        train = [("train", index, f"toy-{index:04d}") for index in range(self.train_scenes)]
        return train + [("val", index, f"toy-{9000 + index:04d}") for index in range(self.val_scenes)]


def read_recipe(root: Path) -> dict[str, object] | None:
    """The recipe of the toy dataset at `root`; None where there is none.

    Raises:
        InputError: `toyworld.json` cannot be read.
    """
    card = root / "toyworld.json"
    if not card.is_file():
        return None
    try:
        recipe: dict[str, object] = json.loads(card.read_text())["recipe"]
        return recipe
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{card} is no recipe card: delete {root} and make the toy world again") from error


def data_hash(root: Path) -> str:
    """sha256 over the names and contents of all files below `root`, the recipe card left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != "toyworld.json"):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
