"""The runtime runs where torch is not: in a process that refuses to import it, and in environments that lack it."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import small_artifact as small

import worldmodel.export.runtime
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.video import read_frames, write_video

ABSENT = (
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "safetensors", "hydra", "omegaconf", "jaxtyping",
    "msgspec", "PIL", "pyarrow", "rerun", "matplotlib", "onnx", "onnxscript",
)  # fmt: skip
GUARD = f"""
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ImportError(f"the runtime asked for {{name}}")
sys.meta_path.insert(0, Guard())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two cameras and their films."""
    place = tmp_path_factory.mktemp("vehicle")
    small.write_artifact(place / "artifact")
    for seed, name in enumerate(("front.mp4", "back.mp4")):
        blocks = np.random.default_rng(seed).integers(0, 256, (12, 6, 9, 3), dtype=np.uint8)
        write_video(place / name, blocks.repeat(8, axis=1).repeat(8, axis=2), 12.0)
    return place


@pytest.fixture(scope="module")
def expected(place: Path) -> np.ndarray:
    """The prediction of this process, in which torch is loaded."""
    films = [read_frames(place / name, small.F, (small.H, small.W), 12.0) for name in ("front.mp4", "back.mp4")]
    return Predictor.open(place / "artifact", threads=1).rollout(np.stack(films), 2, "latents")


def runtime_modules() -> list[str]:
    folder = Path(list(worldmodel.export.runtime.__path__)[0])
    files = [path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    return [".".join(("worldmodel.export.runtime", *file.parts)).removesuffix(".__init__") for file in files]


def called(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Runs in `place` with nothing of this environment's variables."""
    return subprocess.run(command, cwd=place, env={}, capture_output=True, text=True, timeout=570)


def verb(out: str) -> list[str]:
    return ["export", "run", "artifact", "front.mp4", "back.mp4", out, "threads=1", "chunks=2", "feed=latents"]


def test_no_module_of_the_runtime_asks_for_torch() -> None:
    modules = runtime_modules()
    assert len(modules) > 12 and "worldmodel.export.runtime.backends.tensorrt" in modules
    code = f"{GUARD}\nimport {', '.join(modules)}\nprint(sorted(set({ABSENT}) & set(sys.modules)))"
    done = called([sys.executable, "-c", code], Path.cwd())
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_verb_runs_where_torch_cannot_be_imported(place: Path, expected: np.ndarray) -> None:
    code = f"{GUARD}\nfrom worldmodel.cli import main\nsys.exit(main({verb('guarded.npy')}))"
    done = called([sys.executable, "-c", code], place)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(place / "guarded.npy"), expected)


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


def runtime_extra(repository: Path) -> list[str]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]["runtime"]


def test_an_environment_of_the_extra_alone_gives_the_same_pixels(
    repository: Path, place: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    """A virtual environment with links to what the extra `runtime` lists, as it is installed here, and the package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    for name in needed(runtime_extra(repository)):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(distribution(name).locate_file(top))
    shutil.copytree(repository / "worldmodel", site / "worldmodel", ignore=shutil.ignore_patterns("__pycache__"))
    check_environment(tmp_path / "venv" / "bin" / "python", place, expected, "linked.npy")


@pytest.mark.network
def test_pip_makes_such_an_environment(repository: Path, place: Path, expected: np.ndarray, tmp_path: Path) -> None:
    """As docs/export.md says it."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    tree = tmp_path / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "outputs", "data", "tests", "docs", "*.egg-info", "__pycache__")
    shutil.copytree(repository, tree, symlinks=True, ignore=unwanted)
    subprocess.run([*pip, "--no-deps", str(tree)], check=True)
    subprocess.run([*pip, *runtime_extra(repository)], check=True)
    check_environment(tmp_path / "venv" / "bin" / "python", place, expected, "installed.npy")
    listed = subprocess.run([*pip[:3], "list"], capture_output=True, text=True, check=True).stdout
    assert "worldmodel" in listed and "torch" not in listed


def check_environment(python: Path, place: Path, expected: np.ndarray, out: str) -> None:
    """It has no torch, it runs the verb, and the pixels are those of this process."""
    absent = called([str(python), "-c", "import torch"], place)
    assert "No module named 'torch'" in absent.stderr
    done = called([str(python), "-m", "worldmodel", *verb(out)], place)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(place / out), expected)
    refused = called([str(python), "-m", "worldmodel", *verb(out)], place)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "exists already" in refused.stderr
