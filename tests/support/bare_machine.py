"""An interpreter of a machine without some packages: their folders and metadata are absent, all else is as here."""

import os
import sys
import sysconfig
from pathlib import Path

ABSENT = ("av", "rerun", "rerun_sdk", "rerun_bindings", "panda3d", "direct", "simplejpeg", "matplotlib", "tensorboard")
"""What a borrowed GPU lacks, by the names of folders and of metadata (before the first `-` or `.`)."""


def bare_interpreter(links: Path, repository: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Python that finds the repository and everything installed but `ABSENT`.

    `links` becomes a folder of links to what is installed, in the order of the search path.
    """
    links.mkdir()
    standard = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")}
    for folder in map(Path, sys.path):
        if folder.resolve() in standard or folder.name not in ("site-packages", "dist-packages"):
            continue
        for entry in folder.iterdir():
            name = entry.name.lower().split("-")[0].split(".")[0]
            if name not in ABSENT and entry.suffix != ".pth" and not (links / entry.name).exists():
                (links / entry.name).symlink_to(entry)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return [sys.executable, "-S"], environment | {"PYTHONPATH": f"{repository}{os.pathsep}{links}"}
