"""What a toy world is made of: sizes, counts and the seed; equal recipes give equal bytes."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from worldmodel.errors import InputError

GENERATOR = 1
"""Version of the scenery and the drawing; to be raised by whatever changes a pixel or a table."""


@dataclass(frozen=True)
class ToyWorldConfig:
    """A toy dataset.

    Attributes:
        train_scenes, val_scenes: scenes of each split; kinds (straight, curve, turn, ...) take turns.
        seconds: length of a scene. seed: everything random follows from it.
        size: width and height of the pictures; nuScenes' 1600 x 900 scaled down by default.
        version: name of the nuScenes version, the folder of tables.
        workers: processes that draw. jpeg_quality: 1 to 100.
    """

    train_scenes: int = 4
    val_scenes: int = 5
    seconds: float = 6.0
    seed: int = 0
    size: tuple[int, int] = (480, 270)
    version: str = "v1.0-toy"
    workers: int = 2
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        if self.train_scenes < 0 or self.val_scenes < 0 or self.train_scenes + self.val_scenes == 0:
            raise InputError(
                f"train_scenes={self.train_scenes} val_scenes={self.val_scenes}: ask for at least one scene"
            )
        if self.seconds < 0.5:
            raise InputError(f"seconds={self.seconds}: a scene needs at least 0.5 s, one keyframe interval")
        if min(self.size) < 16:
            raise InputError(f"size={list(self.size)}: use at least [16,16], as width and height")
        if self.workers < 1:
            raise InputError(f"workers={self.workers}: use at least 1")
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"jpeg_quality={self.jpeg_quality}: use 1 to 100")

    def recipe(self) -> dict[str, object]:
        """What decides the bytes: all but the number of processes."""
        kept = {key: value for key, value in asdict(self).items() if key != "workers"}
        return json.loads(json.dumps({"generator": GENERATOR, **kept}))

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
        return json.loads(card.read_text())["recipe"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{card} is no recipe card: delete {root} and make the toy world again") from error


def data_hash(root: Path) -> str:
    """sha256 over the names and contents of all files below `root`, the recipe card left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != "toyworld.json"):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
