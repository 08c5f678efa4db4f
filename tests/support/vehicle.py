"""An environment as on a vehicle: the package, what its extra `runtime` lists, and no torch."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest


def linked_environment(folder: Path, repository: Path) -> Path:
    """Python of a virtual environment in `folder`, with links to the packages as they are installed here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    for name in needed(runtime_extra(repository)):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(distribution(name).locate_file(top))
    shutil.copytree(repository / "worldmodel", site / "worldmodel", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bin" / "python"


def runtime_extra(repository: Path) -> list[str]:
    """What the extra `runtime` lists."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]["runtime"]


def needed(names: list[str]) -> set[str]:
    """These distributions and all that they need in turn."""
    found: set[str] = set()
    while names:
        name = re.split(r"[\s;<>=!~\[(]", names.pop())[0]
        try:
            wanted = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            names += [line for line in wanted if "extra ==" not in line]
    return found


def called(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Runs in `place` with nothing of this environment's variables."""
    return subprocess.run(command, cwd=place, env={}, capture_output=True, text=True, timeout=570)
