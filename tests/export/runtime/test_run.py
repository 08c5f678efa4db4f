"""`worldmodel export run`: the predictor's pixels, one line for what cannot be, nothing half-written."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import small_artifact as small

from worldmodel.cli.main import main
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import note, observed_frames
from worldmodel.export.runtime.video import read_frames, write_video


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of two cameras and three films of 24 frames."""
    place = tmp_path_factory.mktemp("run")
    small.write_artifact(place / "artifact")
    for seed, name in enumerate(("front.mp4", "back.mp4", "short.mp4")):
        blocks = np.random.default_rng(seed).integers(0, 256, (24, 6, 9, 3), dtype=np.uint8)
        frames = blocks[: 5 if name == "short.mp4" else 24].repeat(8, axis=1).repeat(8, axis=2)
        write_video(place / name, frames, 12.0)
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory beside links to the artifact and the films."""
    for name in ("artifact", "front.mp4", "back.mp4", "short.mp4"):
        (tmp_path / name).symlink_to(place / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["export", "run", *shlex.split(line)])
    said = capsys.readouterr()
    return status, said.out, said.err


def observed(start: float = 0.0) -> np.ndarray:
    size = small.H, small.W
    return np.stack([read_frames(name, small.F, size, 12.0, start) for name in ("front.mp4", "back.mp4")])


def test_exact_pixels_and_what_it_took(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "artifact front.mp4 back.mp4 out.npy threads=1 chunks=2 feed=latents steps=2 start=0.5"
    status, out, err = run(line, capsys)
    assert status == 0, err
    expected = Predictor.open("artifact", threads=1).rollout(observed(0.5), 2, "latents", 2)
    assert np.array_equal(np.load("out.npy"), expected) and expected.shape == (2, 18, 16, 24, 3)
    said = json.loads(out.splitlines()[-1])
    assert said["calls"] == {"encoder": 1, "step": 4, "decoder": 2} and set(said["seconds"]) == set(said["calls"])
    assert (said["cameras"], said["frames"], said["steps"], said["video_seconds"]) == (2, 18, 2, 1.5)
    assert "for 1.5 s of video" in out and "out.npy: 18 frames of 2 camera(s)" in out


def test_several_cameras_are_a_folder_of_films(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run("artifact front.mp4 back.mp4 futures/a threads=1", capsys)
    assert status == 0, err
    films = sorted(Path("futures/a").iterdir())
    assert [film.name for film in films] == ["0_front.mp4", "1_back.mp4"]
    predicted = Predictor.open("artifact", threads=1).predict(observed())
    for film, frames in zip(films, predicted, strict=True):
        shown = read_frames(film, small.F, (small.H, small.W), 12.0).astype(int)
        assert np.abs(shown - frames).mean() < 12, "H.264 at a size of 16 x 24, and other cameras are far off"
    status, _, err = run("artifact front.mp4 back.mp4 futures/a threads=1 overwrite=true start=0.5", capsys)
    assert status == 0 and len(list(Path("futures/a").iterdir())) == 2, err


def test_one_camera_is_a_film(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest.read("artifact")
    with av.open("front.mp4") as container:
        assert container.streams.video[0].frames == 24
    assert manifest.cameras == 2
    status, _, err = run("artifact front.mp4 out.mp4", capsys)
    assert (status, err) == (2, "error: videos: 1 given, this artifact takes 2 cameras; give one for each\n")


REFUSED = [
    ("nowhere front.mp4 back.mp4 o.npy", "nowhere: no such folder; give the folder that `worldmodel export` wrote"),
    ("artifact front.mp4 back.mp4 out.mp4", "out=out.mp4: for 2 camera(s) give a folder, or a name ending in .npy"),
    ("artifact front.mp4 short.mp4 out.npy", "short.mp4: ends before the last of 9 frames at 12/s"),
    ("artifact front.mp4 gone.mp4 out.npy", "gone.mp4: no such video file; check the path"),
    ("artifact front.mp4 artifact/step.onnx o.npy", "artifact/step.onnx: not a readable video"),
    ("artifact front.mp4 back.mp4 back.mp4 o.npy", "videos: 3 given, this artifact takes 2 cameras"),
    ("artifact front.mp4 back.mp4 o.npy steps=9", "steps=9: this artifact holds schedules of 2, 5; use one of them"),
    ("artifact front.mp4 back.mp4 o.npy chunks=0", "chunks=0: use at least 1"),
    ("artifact front.mp4 back.mp4 o.npy start=-1", "start=-1.0: give seconds from the first frame, 0 or more"),
    ("artifact front.mp4 back.mp4 o.npy start=nan", "start=nan: give seconds from the first frame, 0 or more"),
    ("artifact front.mp4 back.mp4 o.npy start=9", "front.mp4: ends before"),
    ("artifact front.mp4 back.mp4 o.npy threads=0", "threads=0: use at least 1, or leave it out"),
    ("artifact front.mp4 back.mp4 o.npy device=cuda", "device=cuda: this onnxruntime is built without it"),
    ("artifact front.mp4 back.mp4 o.npy self_test=true", "artifact: holds no self-test; export the artifact again"),
    (f"artifact front.mp4 back.mp4 o.npy prompt_sha256={'cd' * 32}", "its prompt has sha256 abababababab"),
    ("artifact front.mp4 back.mp4 front.mp4 back.mp4 overwrite=true", "videos: 3 given"),
    ("artifact front.mp4 back.mp4 artifact overwrite=true", "out=artifact: holds "),
    ("artifact front.mp4 back.mp4 out=artifact/manifest.json overwrite=true", "json: is a file; choose another name"),
    ("artifact front.mp4 back.mp4 front.mp4/o.npy", "front.mp4: File exists; give a folder that can be written"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(
    here: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.iterdir())
    status, out, err = run(line, capsys)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("error: ") and said in err and sorted(here.iterdir()) == before


def test_nothing_is_overwritten_unless_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.npy").write_bytes(b"mine")
    line = "artifact front.mp4 back.mp4 out.npy threads=1"
    status, _, err = run(line, capsys)
    assert status == 2 and "out=out.npy: exists already; choose another name or say overwrite=true" in err
    assert Path("out.npy").read_bytes() == b"mine"
    assert run(f"{line} overwrite=true", capsys)[0] == 0 and np.load("out.npy").shape == (2, 9, 16, 24, 3)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    status, _, err = run("artifact front.mp4 back.mp4 mine threads=1 overwrite=true", capsys)
    assert status == 2 and "out=mine: holds notes.txt, which is no prediction; choose another folder" in err
    assert Path("mine/notes.txt").read_text() == "keep" and len(list(here.iterdir())) == 6


def test_the_self_test_passes_or_stops(here: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = small.write_artifact(here / "tested")
    predicted = Predictor.open("tested", threads=1).predict(observed_frames(3, manifest.video_shape), 5)
    replace(manifest, self_test=note(predicted, 3, 5, 1.0)).write("tested")
    line = "tested front.mp4 back.mp4 out.npy threads=1 self_test=true"
    status, out, err = run(line, capsys)
    assert status == 0, err
    said = json.loads(out.splitlines()[-1])
    assert said["self_test"] == {"exact": True, "difference": 0.0, "passed": True} and said["calls"]["encoder"] == 1
    replace(manifest, self_test=note(255 - predicted, 3, 5, 1.0)).write("tested")
    status, out, err = run(f"{line} overwrite=true", capsys)
    assert status == 2 and "tested: the self-test fails here, blocks differ by up to" in err
