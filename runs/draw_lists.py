"""Draw the training and the held-out videos of OpenVid's CSV at random, each into a list of its own.

    python runs/draw_lists.py OpenVid-1M.csv FOLDER 400000 2000

writes FOLDER/train.csv and FOLDER/val.csv. The paper (section 4.1) draws so; which videos it drew is unpublished, so
these are others. The seed is fixed.
"""

import csv
import random
import sys
from pathlib import Path

from worldmodel.datasets.openvid import VideoEntry, read_list
from worldmodel.errors import InputError, UserError
from worldmodel.files import written_whole

SEED = 0


def draw_lists(source: Path, folder: Path, training: int, held_out: int) -> None:
    """Both lists; what is drawn depends on the CSV's rows, the numbers and `SEED` alone."""
    entries = list(read_list(source))
    if len(entries) < held_out + training:
        raise InputError(f"{source}: {len(entries)} videos; {held_out} + {training} are asked for")
    random.Random(SEED).shuffle(entries)
    write(folder / "val.csv", entries[:held_out])
    write(folder / "train.csv", entries[held_out : held_out + training])


def write(path: Path, entries: list[VideoEntry]) -> None:
    """A list with the columns video, caption and frame, the length by which clips to evaluate on are chosen."""
    with written_whole(path) as part, part.open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(("video", "caption", "frame"))
        rows.writerows((entry.video, entry.caption, entry.facts.get("frame", "")) for entry in entries)
    print(f"{path}: {len(entries)} videos")


if __name__ == "__main__":
    try:
        draw_lists(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    except UserError as error:
        sys.exit(f"error: {error}")
