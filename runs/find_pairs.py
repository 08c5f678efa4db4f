"""Unpack the videos of a training run, find their cuts and chunk pairs, and keep the cuts; no GPU is needed.

    python runs/find_pairs.py experiment=flowframes_ltxv pretrained=FOLDER data.videos=LIST ...

takes the words of `worldmodel train` and does what would otherwise keep all processes of a launch waiting for one.
"""

import logging
import sys

from worldmodel.cli.compose import compose
from worldmodel.errors import UserError
from worldmodel.training import TrainConfig
from worldmodel.training.data import open_pairs, store_folder


def find_pairs(words: list[str]) -> None:
    """Of every length of chunk; a second run finds the cuts in the store."""
    config = compose(TrainConfig, words, presets=True)
    for frames in config.data.frames:
        pairs = open_pairs(config.data, frames, store_folder(config))
        print(f"{len(pairs)} pairs of {frames} + {frames} frames")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        find_pairs(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
