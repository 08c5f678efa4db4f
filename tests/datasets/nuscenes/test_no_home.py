"""A container's user often has a number alone: no HOME, and no entry that says where home is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nuscenes_small import VERSION

from worldmodel.benchmarks.metrics.inception import load_inception
from worldmodel.cli.main import main
from worldmodel.datasets.nuscenes import open_index
from worldmodel.errors import InputError
from worldmodel.files import cache_folder, expanded
from worldmodel.models.open import open_backbone, open_pipeline

USER = 54321  # without an entry
AS_USER = f"""
import os, sys
os.setreuid({USER}, 0)  # who it is; what it may read stays as it was, the interpreter may lie in root's own folder
from worldmodel.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(folder: Path, *words: str, **named: str) -> tuple[int, str]:
    """Exit status of the command line in `folder`, and all that it said."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without an entry")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "WORLDMODEL_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, *words], cwd=folder, env=environment | named, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run`, in this process: what a number without an entry is answered."""
    for name in ("HOME", "WORLDMODEL_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: USER)


def test_help_needs_no_home(tmp_path: Path) -> None:
    status, said = run(tmp_path, "--help")
    assert status == 0 and said.startswith("usage: worldmodel")


def test_an_index_without_a_place_is_one_sentence(own_root: Path, tmp_path: Path) -> None:
    (own_root / VERSION / ".worldmodel-index").write_text("a file in the way, as on a read-only disk")
    status, said = run(tmp_path, "data", "index", f"root={own_root}")
    assert status == 2 and said.count("\n") == 1 and "set WORLDMODEL_CACHE" in said, said


def test_an_index_lies_beside_its_tables(own_root: Path, no_home: None) -> None:
    assert open_index(own_root, VERSION).folder.is_relative_to(own_root)


def test_a_path_at_home_says_so(no_home: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "index", "root=~/nuscenes"]) == 2
    assert "root=~/nuscenes: this user has no home folder" in capsys.readouterr().err


@pytest.mark.parametrize("open_it", [expanded, open_pipeline, open_backbone, load_inception])
def test_in_python_too(open_it: Callable[[Path], object], no_home: None) -> None:
    with pytest.raises(InputError, match="~/some: this user has no home folder; write the whole path, or set HOME"):
        open_it(Path("~/some"))


def test_a_cache_without_a_place_names_both_remedies(no_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="set WORLDMODEL_CACHE, or HOME"):
        cache_folder()
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/worldmodel")
    monkeypatch.setenv("WORLDMODEL_CACHE", "~/kept")
    assert cache_folder() == Path("/home/somebody/kept")


def test_a_name_that_only_looks_like_home_is_a_name() -> None:
    """There is no user `old`; backups of editors are called so."""
    assert expanded("~old-of-nobody/model") == Path("~old-of-nobody/model")
    assert expanded("a/~/b") == Path("a/~/b")
