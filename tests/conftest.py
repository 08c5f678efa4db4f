"""Settings and fixtures of all tests: shapes are checked, threads are few, golden numbers and footage are found.

`WORLDMODEL_GOLDEN` and `WORLDMODEL_TEST_DATA` name the folders (default: `shared/golden` and `shared/data` beside the
checkout); a test goes through whatever is listed there.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two pytest workers on two cores: more threads only get in the way
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from golden_numbers import Golden
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent

DEAR = {"installed", "made_once", "quick", "runs", "scripts", "toy_root_two_workers", "undisturbed"}
"""Fixtures that export, compile, benchmark or train: more than 5 s of a CPU for the first test that asks for them."""


def shaped_modules() -> list[str]:
    """The modules that name shapes; to wrap all others as well took every process that collects tests 10 s."""
    walk = os.walk(ROOT / "worldmodel", followlinks=True)
    files = (Path(folder) / name for folder, _, names in walk for name in names if name.endswith(".py"))
    shaped = (file for file in files if "jaxtyping" in file.read_text())
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in shaped]


install_import_hook(shaped_modules(), "tensor_typecheck.checked")  # before any of them is imported


def folder_from(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once(name, make): the folder that `make(folder)` wrote, once for all workers; it is only to be read."""
    base = tmp_path_factory.getbasetemp()
    common = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        path, whole = common / name, common / f"{name}.whole"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a worker that failed halfway
                make(path)
                whole.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """The folder of golden numbers; skips where there is none."""
    return folder_from("WORLDMODEL_GOLDEN", "golden")


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> Callable[[str], list[Golden]]:
    """All golden computations whose name starts so; skips where the folder lists none."""

    def find(kind: str) -> list[Golden]:
        listed = sorted(golden_folder.glob(f"{kind}*.json"))
        found = [Golden(path) for path in listed if path.with_suffix(".safetensors").is_file()]
        if not found:
            pytest.skip(f"{golden_folder} lists no {kind}")
        return found

    return find


@pytest.fixture(scope="session")
def footage_folder() -> Path:
    """The folder of real footage; skips where there is none."""
    return folder_from("WORLDMODEL_TEST_DATA", "data")


@pytest.fixture(scope="session")
def reported_folder(footage_folder: Path) -> Path:
    """Small inputs that people reported trouble with."""
    if not (footage_folder / "reported").is_dir():
        pytest.skip(f"no reported inputs: {footage_folder / 'reported'} is absent (set WORLDMODEL_TEST_DATA)")
    return footage_folder / "reported"


@pytest.fixture(scope="session")
def footage_manifest(footage_folder: Path) -> dict:
    """What is listed about the real footage."""
    return json.loads((footage_folder / "manifest.json").read_text())


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine lacks, with the reason; whoever asks for a dear fixture is slow."""
    for item in items:
        if DEAR & set(item.fixturenames):
            item.add_marker("slow")
        for marker, reason in missing_here(item):
            item.add_marker(pytest.mark.skip(reason=f"{marker}: {reason}"))


def missing_here(item: pytest.Item) -> list[tuple[str, str]]:
    from importlib.util import find_spec

    reasons = []
    if item.get_closest_marker("gpu") and not has_gpu():
        reasons.append(("gpu", "no CUDA device"))
    if item.get_closest_marker("network") and os.environ.get("WORLDMODEL_NETWORK") != "1":
        reasons.append(("network", "set WORLDMODEL_NETWORK=1 to reach model hubs"))
    if item.get_closest_marker("weights") and "WORLDMODEL_WEIGHTS" not in os.environ:
        reasons.append(("weights", "WORLDMODEL_WEIGHTS names no folder"))
    if item.get_closest_marker("devkit") and find_spec("nuscenes") is None:
        reasons.append(("devkit", "nuscenes-devkit is not installed"))
    if item.get_closest_marker("trt") and find_spec("tensorrt_rtx_bindings") is None:
        reasons.append(("trt", "TensorRT-RTX is not installed: pip install 'worldmodel[trt-check]'"))
    return reasons


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
