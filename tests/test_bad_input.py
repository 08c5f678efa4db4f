"""The catalogue of bad input: each gives one line that names the file or key and the remedy, status 2, and no litter.

Everything goes through the real command line on a real toy dataset, real videos and a real (untrained) checkpoint.
A case breaks one thing in a fresh copy; `said` are the words that its line must hold.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.cli.main import main
from worldmodel.models.pipeline import FlowFramesPipeline

VERSION = "v1.0-toy"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy dataset of one scene, a video, a folder of images and a checkpoint."""
    place = tmp_path_factory.mktemp("good")
    words = ["train_scenes=0", "val_scenes=1", "seconds=3.5", "size=[64,36]", "workers=1"]
    assert main(["data", "toyworld", f"root={place / 'toy'}", *words]) == 0
    write_film(place / "film.mp4", 24)
    (place / "images").mkdir()
    for number in range(12):
        Image.new("RGB", (64, 36), (20 * number, 90, 60)).save(place / "images" / f"{number:03d}.jpg")
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, temporal=4)
    network = tiny_transformer(vae.config.latent_channels, layers=1, heads=2, head_dim=16, caption_channels=16)
    FlowFramesPipeline.from_backbone(tiny_backbone(vae, network)).save_pretrained(place / "model")
    return place


def write_film(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(frames):
            image = np.full((48, 64, 3), 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def place(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a case may break, as the working directory."""
    copy = tmp_path / "here"
    shutil.copytree(good, copy)
    monkeypatch.chdir(copy)
    return copy


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command says; nothing is left behind but the index of a dataset whose tables are good."""
    before = files()
    capsys.readouterr()
    status = main(line.split())
    err = capsys.readouterr().err
    assert status == 2, err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and err.splitlines()[-1] == lines[0], err
    assert "Traceback" not in err
    assert files() == before, f"left behind: {sorted(files() ^ before)}"
    return lines[0]


def files() -> set[str]:
    """All files and whatever is named as unfinished; an empty parent folder is no litter."""
    found = (path for path in Path(".").rglob("*") if ".worldmodel-index" not in path.parts)
    return {path.as_posix() for path in found if path.is_file() or "part" in path.name}


def table(place: Path, name: str) -> Path:
    return place / "toy" / VERSION / f"{name}.json"


def edit(path: Path, change: Callable[[list[dict]], object]) -> None:
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


INDEX = f"data index root=toy version={VERSION}"
PREDICT = "predict size=[32,48] frames=9 chunks=1 steps=1 device=cpu checkpoint=model out=out/prediction source="

TABLES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "table missing": (lambda p: table(p, "ego_pose").unlink(), INDEX, "ego_pose.json"),
    "table truncated": (
        lambda p: table(p, "sample_data").write_bytes(table(p, "sample_data").read_bytes()[:900]),
        INDEX,
        "sample_data.json",
    ),
    "table empty": (lambda p: table(p, "scene").write_bytes(b""), INDEX, "scene.json"),
    "table of another kind": (lambda p: table(p, "sensor").write_text('{"a": 1}'), INDEX, "sensor.json"),
    "column missing": (lambda p: edit(table(p, "sample_data"), lambda r: r[3].pop("filename")), INDEX, "filename"),
    "value of another type": (
        lambda p: edit(table(p, "ego_pose"), lambda r: r[2].update(translation="north")),
        INDEX,
        "ego_pose.json",
    ),
    "dangling token": (
        lambda p: edit(table(p, "sample_data"), lambda r: r[5].update(ego_pose_token="0" * 32)),
        INDEX,
        "0" * 32,
    ),
    "token twice": (lambda p: edit(table(p, "sample"), lambda r: r.append(dict(r[0]))), INDEX, "sample.json"),
    "root missing": (lambda p: None, "data index root=absent", "absent"),
    "version missing": (lambda p: None, "data index root=toy version=v1.0-none", "v1.0-none"),
    "camera unknown": (lambda p: None, f"{INDEX} cameras=[CAM_TOP]", "CAM_TOP"),
    "split unknown": (lambda p: None, f"{INDEX} split=holdout", "holdout"),
    "more frames than a scene has": (lambda p: None, f"{INDEX} future_frames=400", "fewer frames"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, words, said = TABLES[case]
    spoil(place)
    assert said in refused(words, capsys)


def first_picture(place: Path) -> Path:
    return sorted((place / "toy" / "samples" / "CAM_FRONT").glob("*.jpg"))[0]


PICTURES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "picture absent": (lambda p: first_picture(p).unlink(), PREDICT + "toy", "CAM_FRONT"),
    "picture of 0 bytes": (lambda p: first_picture(p).write_bytes(b""), PREDICT + "toy", "0 bytes"),
    "picture cut off": (
        lambda p: first_picture(p).write_bytes(first_picture(p).read_bytes()[:300]),
        PREDICT + "toy",
        "truncated or corrupt",
    ),
    "image folder with a text": (
        lambda p: (p / "images" / "004.jpg").write_text("no picture"),
        PREDICT + "images",
        "004.jpg",
    ),
    "image folder too short": (
        lambda p: [(p / "images" / f"{n:03d}.jpg").unlink() for n in range(5, 12)],
        PREDICT + "images",
        "5 frames",
    ),
    "folder without pictures": (lambda p: (p / "empty").mkdir(), PREDICT + "empty", "neither images"),
    "images and videos mixed": (
        lambda p: shutil.copy(p / "film.mp4", p / "images"),
        PREDICT + "images",
        "keep one kind",
    ),
    "video absent": (lambda p: None, PREDICT + "absent.mp4", "absent.mp4"),
    "video of 0 bytes": (lambda p: (p / "film.mp4").write_bytes(b""), PREDICT + "film.mp4", "0 bytes"),
    "video is a text": (lambda p: (p / "film.mp4").write_text("hello " * 99), PREDICT + "film.mp4", "not a readable"),
    "video cut off": (
        lambda p: (p / "film.mp4").write_bytes((p / "film.mp4").read_bytes()[:2000]),
        PREDICT + "film.mp4",
        "film.mp4",
    ),
    "video too short": (lambda p: write_film(p / "film.mp4", 6), PREDICT + "film.mp4", "6 frames"),
    "start behind the end": (lambda p: None, PREDICT + "film.mp4 start=60", "start"),
    "scene unknown": (lambda p: None, PREDICT + "toy scene=scene-0103", "scene-0103"),
    "scene of a video": (lambda p: None, PREDICT + "film.mp4 scene=toy-9000", "leave scene out"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_and_videos(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, words, said = PICTURES[case]
    spoil(place)
    assert said in refused(words, capsys)


SETTINGS: dict[str, tuple[str, str]] = {
    "unknown key": (PREDICT + "film.mp4 step=5", "did you mean steps"),
    "wrong type": (PREDICT + "film.mp4 chunks=two", "chunks=two: give a whole number"),
    "missing key": ("predict", "key 'source'"),
    "several runs": (PREDICT + "film.mp4 seed=1,2", "seed=1,2"),
    "unknown choice": (PREDICT + "film.mp4 save_frames=bmp", "png, webp, none"),
    "frames that do not fit": (PREDICT + "film.mp4 frames=10", "10"),
    "size that does not fit": (PREDICT + "film.mp4 size=[30,48]", "30"),
    "size with one number": (PREDICT + "film.mp4 size=[32]", "size=[32]"),
    "no steps": (PREDICT + "film.mp4 steps=0", "steps=0"),
    "no such device": (PREDICT + "film.mp4 device=tpu7", "device=tpu7"),
    "prompt without a text encoder": (PREDICT + "film.mp4 prompt=rain", "no text encoder"),
    "no such preset": ("train experiment=giant", "experiment=giant"),
    "training steps": ("train data.root=toy data.version=v1.0-toy steps=0", "steps=0"),
    "training without a VAE": ("train data.root=toy data.version=v1.0-toy out=out/run", "pretrained"),
    "no scenes": ("data toyworld root=new train_scenes=0 val_scenes=0", "train_scenes=0"),
    "another world in the way": ("data toyworld root=toy seed=9", "overwrite=true"),
    "a folder of the user in the way": (PREDICT.replace("out/prediction", "images") + "film.mp4", "out=images"),
    "a file where a folder is wanted": (PREDICT.replace("out/", "film.mp4/") + "film.mp4", "film.mp4"),
    "recording absent": ("view path=absent.rrd", "absent.rrd"),
    "no recording": ("view path=film.mp4", "not a Rerun recording"),
    "no verb": ("preditc", "choose one of"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, said = SETTINGS[case]
    assert said in refused(words, capsys)


def weights(place: Path) -> Path:
    return place / "model" / "transformer" / "diffusion_pytorch_model.safetensors"


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def resize_config(place: Path) -> None:
    path = place / "model" / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_layers": 3}))


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "checkpoint absent": (lambda p: shutil.rmtree(p / "model"), "model"),
    "no pipeline in the folder": (lambda p: (p / "model" / "model_index.json").unlink(), "model_index.json"),
    "index is no JSON": (lambda p: (p / "model" / "model_index.json").write_text("{"), "model_index.json"),
    "network missing": (lambda p: shutil.rmtree(p / "model" / "transformer"), "transformer"),
    "weights missing": (lambda p: weights(p).unlink(), "model"),
    "weights cut off": (lambda p: weights(p).write_bytes(weights(p).read_bytes()[:5000]), "transformer"),
    "weights of 0 bytes": (lambda p: weights(p).write_bytes(b""), "transformer"),
    "a weight missing": (lambda p: rewrite(weights(p), lambda t: t.pop(next(iter(t)))), "missing"),
    "a weight too many": (lambda p: rewrite(weights(p), lambda t: t.update(stray=torch.zeros(2))), "stray"),
    "a weight of another shape": (
        lambda p: rewrite(weights(p), lambda t: t.update({"proj_in.weight": torch.zeros(3, 3)})),
        "proj_in.weight",
    ),
    "configuration of another size": (resize_config, "model"),
    "configuration is no JSON": (
        lambda p: (p / "model" / "vae" / "config.json").write_text("not json"),
        "config.json",
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, said = CHECKPOINTS[case]
    spoil(place)
    line = refused(PREDICT + "film.mp4", capsys)
    assert said in line and re.search(r"[;:] \w+", line)


def test_an_earlier_prediction_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = PREDICT + "film.mp4 save_frames=none"
    assert main(words.split()) == 0
    kept = (place / "out" / "prediction" / "prediction.json").read_bytes()
    assert "overwrite=true" in refused(words, capsys)
    assert (place / "out" / "prediction" / "prediction.json").read_bytes() == kept


def test_a_full_disk_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`RLIMIT_FSIZE` stands in for the full disk: the system refuses the write in the middle of the work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        line = refused(
            "data toyworld root=new train_scenes=0 val_scenes=1 seconds=0.5 size=[320,180] workers=1", capsys
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in line


def test_there_are_enough_cases() -> None:
    assert len(TABLES) + len(PICTURES) + len(SETTINGS) + len(CHECKPOINTS) >= 25


def heed_interrupts() -> None:
    """Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    words = ["data", "toyworld", "root=new", "train_scenes=1", "val_scenes=1", "seconds=20", "workers=2"]
    command = [sys.executable, "-m", "worldmodel", *words]
    running = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_interrupts
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the workers get it as well
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2 and "Traceback" not in err, err
    assert err.splitlines()[-1].startswith("error: interrupted")
    assert list(tmp_path.iterdir()) == []
