"""The house stands: links, names that shadow nothing, and a wheel that holds every room."""

import os
import shutil
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOMS = ("datasets", "benchmarks", "export")
CHECKOUT_ONLY = ("worldmodel/benchmarks/results/", "worldmodel/benchmarks/studies/")


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_a_relative_link_and_no_regular_package(repository: Path, room: str) -> None:
    link = repository / "worldmodel" / room
    assert link.is_symlink() and os.readlink(link) == f"../{room}"
    assert not (repository / room / "__init__.py").exists(), f"{room}/__init__.py would shadow other packages"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("datasets.load") is None, reason="Hugging Face datasets is not installed")
def test_two_process_launch_from_the_root_finds_both_datasets(repository: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    words = [*command, "--module", "tests.house_probe"]
    done = subprocess.run(words, cwd=repository, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("probe passed") == 2


def test_no_module_needs_itself_by_way_of_others(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lazy imports counted; which room may know which is import-linter's, `make check`."""
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed")
    monkeypatch.syspath_prepend(repository)
    roots = ("worldmodel", *(f"worldmodel.{room}" for room in ROOMS))
    graph = grimp.build_graph(*roots, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 300
    TopologicalSorter(imports).prepare()  # raises CycleError with the circle


@pytest.fixture(scope="module")
def copied(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without what builds leave behind, so that nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("tree") / "worldmodel"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "outputs", "data", "__pycache__", "docs")
    shutil.copytree(repository, copy, symlinks=True, ignore=unwanted)
    return copy


def built(tree: Path, kind: str) -> Path:
    out = tree.parent / f"{kind}-of-{tree.name}"
    out.mkdir()
    code = f"import sys; from setuptools import build_meta as b; b.build_{kind}(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return next(out.iterdir())


def expected_files(tree: Path) -> set[str]:
    """Every module and every shipped data file, by its path through the links; results and studies stay behind."""
    walk = os.walk(tree / "worldmodel", followlinks=True)
    names = {(Path(folder) / name).relative_to(tree).as_posix() for folder, _, files in walk for name in files}
    suffixes = (".py", ".typed", ".yaml", ".safetensors", ".json", ".csv", ".md", ".txt")
    return {name for name in names if name.endswith(suffixes) and not name.startswith(CHECKOUT_ONLY)}


@pytest.mark.slow
def test_wheel_and_sdist_hold_every_room_and_preset(copied: Path, tmp_path: Path) -> None:
    sdist = built(copied, "sdist")
    shutil.unpack_archive(sdist, tmp_path, filter="data")
    for tree in (copied, next(tmp_path.iterdir())):
        names = set(zipfile.ZipFile(built(tree, "wheel")).namelist())
        expected = expected_files(copied)
        files = ("datasets/pairs.py", "cli/presets/experiment/tiny.yaml", "cli/main.py", "py.typed")
        named = {f"worldmodel/{name}" for name in files}
        assert named <= expected
        assert expected <= names, f"not in the wheel of {tree.name}: {sorted(expected - names)[:10]}"
        strangers = ("datasets/", "tests/", "benchmarks/", "export/", *CHECKOUT_ONLY)
        assert not [name for name in names if name.startswith(strangers)]


def test_dependencies_have_lower_bounds_and_no_devkit(repository: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    assert all(">=" in line for line in wanted), [line for line in wanted if ">=" not in line]
    assert not any(line.startswith("nuscenes-devkit") for line in wanted)
    export, export_gpu = (project["optional-dependencies"][name] for name in ("export", "export-gpu"))
    assert not {line.split(">=")[0] for line in export_gpu} >= {"onnxruntime"} and len(export) == len(export_gpu)
