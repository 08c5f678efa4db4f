"""The runtime runs where torch is not: in a process that refuses to import it, and in environments that lack it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_artifact as small
from vehicle import called, linked_environment, runtime_extra

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


def verb(out: str) -> list[str]:
    return ["export", "run", "artifact", "front.mp4", "back.mp4", out, "threads=1", "chunks=2", "feed=latents"]


def test_no_module_of_the_runtime_asks_for_torch() -> None:
    modules = runtime_modules()
    assert len(modules) > 12 and "worldmodel.export.runtime.backends.tensorrt" in modules
    code = f"{GUARD}\nimport {', '.join(modules)}\nprint(sorted(set({ABSENT}) & set(sys.modules)))"
    done = called([sys.executable, "-c", code], Path.cwd())
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_verb_runs_where_torch_cannot_be_imported(place: Path, expected: np.ndarray) -> None:
    code = f"{GUARD}\nfrom worldmodel.cli.main import main\nsys.exit(main({verb('guarded.npy')}))"
    done = called([sys.executable, "-c", code], place)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(place / "guarded.npy"), expected)


def test_an_environment_of_the_extra_alone_gives_the_same_pixels(
    repository: Path, place: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    check_environment(linked_environment(tmp_path / "venv", repository), place, expected, "linked.npy")


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
