"""A procedural drive seen by six cameras, written as a nuScenes dataset. Needs no download and no licence form.

make_toyworld(Path("data/toyworld"), ToyWorldConfig(train_scenes=4, val_scenes=5, seconds=6.0))
"""

from pathlib import Path

from worldmodel.datasets.toyworld.recipe import ToyWorldConfig

__all__ = ["ToyWorldConfig", "make_toyworld"]


def make_toyworld(root: Path, config: ToyWorldConfig, progress: bool = True, overwrite: bool = False) -> Path:
    """See `worldmodel.datasets.toyworld.write.make_toyworld`; panda3d is loaded only when something is drawn."""
    from worldmodel.datasets.toyworld import write

    return write.make_toyworld(root, config, progress, overwrite)
