"""docs/export.md's way from a checkpoint to a car: its ten commands as they stand there, as far as a CPU goes."""

import contextlib
import hashlib
import io
import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vehicle import called, linked_environment

from worldmodel.cli.main import main
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.export.runtime.video import read_frames, write_video

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")

pytestmark = pytest.mark.slow

SHORT = {"bench": "rounds=1 iterations=1 warmup=0 chunks=0", "checkpoint=tiny": "height=64 width=96"}
"""What is added to a command here by its second word, to take less time."""


def commands(repository: Path) -> list[str]:
    """Of the section, comments taken off."""
    text = (repository / "docs" / "export.md").read_text()
    section = text.split("## From checkpoint to car in ten commands")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    return [line.partition("  #")[0].rstrip() for line in lines if line.startswith("worldmodel ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the films of six cameras on two drives: one for calibration, one held out."""
    place = tmp_path_factory.mktemp("workstation")
    config = ToyWorldConfig(train_scenes=1, val_scenes=1, seconds=3.0, seed=11, workers=1)
    index = open_index(make_toyworld(place / "toy", config, False), "v1.0-toy")
    for split, folder in (("train", "drives/calibration"), ("val", "drives/today")):
        pair = chunk_pairs(index, split=split, size=(128, 192))[0]
        for camera, film in zip(pair.cameras, pair.observed_NFCHW, strict=True):
            (place / folder).mkdir(parents=True, exist_ok=True)
            write_video(place / folder / f"{camera}.mp4", film.permute(0, 2, 3, 1).numpy(), pair.frame_rate)
    return place


def run_here(command: str, place: Path) -> dict:
    """On the workstation, in this process; the last line that it prints."""
    words = shlex.split(command.removeprefix("worldmodel "))
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(place)
        assert main([*words, *SHORT.get(words[1], "").split()]) == 0
    return json.loads(printed.getvalue().splitlines()[-1])


def run_there(command: str, place: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """On the vehicle: through a shell, as it is pasted, in another environment and without this one's variables."""
    words = command.removeprefix("worldmodel ")
    return called(["sh", "-c", f"{python} -m worldmodel {words} {SHORT.get(words.split()[1], '')}"], place)


def last_line(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_ten_commands_from_a_checkpoint_to_a_car(repository: Path, place: Path, tmp_path: Path) -> None:
    """Seven on the workstation for real; on the vehicle, with ONNX Runtime for TensorRT, the build is refused."""
    steps = commands(repository)
    assert len(steps) == 10
    done = [run_here(command, place) for command in steps[:7]]
    verified = {one["artifact"]: one for one in done if "psnr" in one}
    assert min(verified["artifacts/rig"]["psnr"].values()) >= 40
    assert min(verified["artifacts/rig-int8"]["psnr"].values()) >= 30
    assert set(verified["artifacts/rig"]["psnr"]) == {"5", "10"}
    python = linked_environment(tmp_path / "vehicle", repository)
    build, drive, bench = steps[7:]
    refused = run_there(build, place, python)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "TensorRT" in refused.stderr
    assert "backend=tensorrt" in drive and "backends=[tensorrt]" in bench
    driven = last_line(run_there(drive.replace("tensorrt", "onnxruntime"), place, python))
    assert driven["self_test"]["exact"] is True
    assert sorted(path.suffix for path in (place / "outputs" / "future").iterdir()) == [".mp4"] * 6
    timed = last_line(run_there(bench.replace("tensorrt", "onnxruntime"), place, python))
    assert timed["entries"][0]["times_real_time"] > 0 and "torch" not in timed["machine"]["versions"]
    same_pixels_as_verify_said(place, python)


def same_pixels_as_verify_said(place: Path, python: Path) -> None:
    """In the environment without torch."""
    films = " ".join(str(path.relative_to(place)) for path in sorted((place / "drives" / "today").iterdir()))
    for artifact in ("rig", "rig-int8"):
        last_line(run_there(f"worldmodel export run artifacts/{artifact} {films} {artifact}.npy", place, python))
        pixels = np.load(place / f"{artifact}.npy")
        said = json.loads((place / "artifacts" / artifact / "parity.json").read_text())["pixels_sha256"]["5"]
        assert pixels.shape == (6, 17, 64, 96, 3) and said == [hashlib.sha256(pixels.tobytes()).hexdigest()]
        assert pixels.std() > 5


def test_one_camera_from_film_to_film_without_torch(repository: Path, place: Path, tmp_path: Path) -> None:
    """`worldmodel export run ART video.mp4 out.mp4`."""
    exported = run_here("worldmodel export checkpoint=tiny out=one", place)
    assert exported["self_test"]
    python = linked_environment(tmp_path / "vehicle", repository)
    film = "drives/today/CAM_FRONT.mp4"
    last_line(run_there(f"worldmodel export run one {film} out.mp4", place, python))
    last_line(run_there(f"worldmodel export run one {film} out.npy", place, python))
    shown, exact = read_frames(place / "out.mp4", 17, (64, 96), 12.0), np.load(place / "out.npy")[0]
    assert np.abs(shown.astype(int) - exact).mean() < 4, "a film loses little"
