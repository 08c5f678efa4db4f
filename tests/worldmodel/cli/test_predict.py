"""`predict` on small drives with random weights: what is written, what is scored, what is refused."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "datasets" / "nuscenes"))

from nuscenes_small import write_dataset

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.cli.commands.predict import PredictConfig, predict
from worldmodel.cli.commands.predict_report import origin
from worldmodel.datasets.sources import open_source
from worldmodel.errors import InputError
from worldmodel.models.pipeline import FlowFramesPipeline

SIZE = (32, 48)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, temporal=4)
    network = tiny_transformer(
        latent_channels=vae.config.latent_channels, layers=1, heads=2, head_dim=16, caption_channels=16
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "pipeline"
    FlowFramesPipeline.from_backbone(tiny_backbone(vae, network)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("nuscenes") / "small")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 24/s: 15 at the model's 12/s."""
    path = tmp_path_factory.mktemp("film") / "drive.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.height, stream.width, stream.pix_fmt = 72, 128, "yuv420p"
        for k in range(30):
            image = np.full((72, 128, 3), (40, 90, 160), np.uint8)
            image[:, 4 * k : 4 * k + 20] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def config(source: Path, checkpoint: Path, out: Path, **keys: object) -> PredictConfig:
    return replace(
        PredictConfig(str(source), str(out), checkpoint=str(checkpoint), size=SIZE, frames=9, steps=2, device="cpu"),
        **keys,
    )


def saved_frames(folder: Path) -> torch.Tensor:
    files = sorted(folder.glob("*.png"))
    assert [file.stem for file in files] == [f"{k:05d}" for k in range(len(files))]
    return torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])


def test_a_scene_becomes_frames_film_recording_sheet_and_figures(
    root: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    result = predict(config(root, checkpoint, tmp_path / "out", scene="scene-0103", ceiling=True))
    written = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert written == json.loads(json.dumps(result))
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {
        "prediction.json", "rollout.rrd", "rollout.mp4", "sheet.png", "frames",
    }  # fmt: skip
    pair = open_source(root, scene="scene-0103").chunk(0.0, 9, 18, SIZE)
    pipeline = FlowFramesPipeline.from_pretrained(checkpoint)
    expected = pipeline.rollout(pair.observed_NFCHW, chunks=2, num_inference_steps=2, frame_rate=12.0, vae_batch_size=1)
    frames = torch.stack([saved_frames(tmp_path / "out" / "frames" / camera) for camera in pair.cameras])
    assert (frames - (expected.frames * 255).round()).abs().max() == 0
    repeated = pair.observed_NFCHW[:, -1:].double() - pair.future_NGCHW.double()
    psnr = (10 * torch.log10(255**2 / repeated.square().mean((2, 3, 4)))).mean(1)
    for camera, value in zip(pair.cameras, psnr.tolist(), strict=True):
        assert written["scores"]["repeat last"][camera]["psnr_db"] == pytest.approx(value, abs=1e-3)
    assert set(written["scores"]) == {"flowframes", "repeat last", "VAE round trip"}
    assert written["evaluations"]["guided_evals"] == 4
    assert written["truth_frames"] == 18
    assert len(written["psnr_db_per_frame"]["flowframes"]) == 18
    last_line = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last_line["mean"]["repeat last"] == written["scores"]["repeat last"]["mean"]


def test_a_video_is_predicted_beyond_its_end(film: Path, checkpoint: Path, tmp_path: Path) -> None:
    result = predict(config(film, checkpoint, tmp_path / "out", save_frames="none"))
    assert result["cameras"] == ["drive"]
    assert result["truth_frames"] == 6
    assert result["predicted_frames"] == 18
    assert "frames" not in result["files"]
    with av.open(str(tmp_path / "out" / "rollout.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9 + 18


def test_the_report_says_where_the_weights_are_from() -> None:
    assert origin("tiny", "0123456789abcdef") == "0123456789ab"
    assert origin("random wan tiny", None) == "drawn anew" and origin("owner/model", None) == "of the hub"


def test_without_truth_there_are_no_scores(
    film: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    result = predict(config(film, checkpoint, tmp_path / "out", start=0.5, chunks=1, save_frames="none"))
    assert result["truth_frames"] == 0
    assert result["scores"] == {}
    assert "nothing to score against" in capsys.readouterr().out


def test_an_earlier_prediction_is_kept_unless_overwrite_is_said(film: Path, checkpoint: Path, tmp_path: Path) -> None:
    first = config(film, checkpoint, tmp_path / "out", chunks=1, save_frames="none")
    predict(first)
    before = (tmp_path / "out" / "prediction.json").read_bytes()
    with pytest.raises(InputError, match="overwrite=true"):
        predict(first)
    with pytest.raises(InputError, match="no such file"):
        predict(replace(first, source="nothing.mp4", overwrite=True))
    assert (tmp_path / "out" / "prediction.json").read_bytes() == before
    predict(replace(first, steps=1, overwrite=True))
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["steps"] == 1
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="no earlier prediction"):
        predict(replace(first, out=str(tmp_path / "notes"), overwrite=True))
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", "notes"}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"source": "nothing.mp4"}, "nothing.mp4: no such file"),
        ({"checkpoint": "."}, "neither a diffusers folder"),
        ({"size": (30, 48)}, "height 30"),
        ({"frames": 10}, "10 frames"),
        ({"frames": 17}, "17 observed frames"),
        ({"frames": 0}, "frames=0"),
        ({"chunks": 0}, "chunks=0"),
        ({"steps": 0}, "steps=0"),
        ({"start": -1.0}, "start=-1"),
        ({"start": 1.0}, "9 observed frames"),
        ({"scene": "scene-0061"}, "leave scene out"),
        ({"cameras": ("a", "b")}, "cameras names 2"),
        ({"device": "tpu9"}, "device=tpu9"),
        ({"device": "cuda:77"}, "device=cuda:77"),
        ({"frame_rate": 0.0}, "frame_rate=0.0: use a number above 0"),
        ({"prompt": "a red car"}, "no text encoder"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_named_and_nothing_is_left(
    film: Path, checkpoint: Path, tmp_path: Path, keys: dict, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        predict(replace(config(film, checkpoint, tmp_path / "out"), **keys))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_size_and_frames_are_those_of_the_training(film: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "trained")
    card = tmp_path / "trained" / "training.json"
    card.write_text(json.dumps({"config": {"data": {"frames": 5, "size": [32, 64]}}}))
    asked = config(film, tmp_path / "trained", tmp_path / "out", frames=None, size=None, save_frames="none")
    result = predict(asked)
    assert (result["observed_frames"], result["size"]) == (5, [32, 64])
    assert (result["config"]["frames"], result["config"]["size"]) == (5, (32, 64))
    card.write_text("{}")
    with pytest.raises(InputError, match="training.json.*give frames= and size="):
        predict(replace(asked, overwrite=True))
    assert predict(replace(asked, overwrite=True, frames=9, size=SIZE))["size"] == list(SIZE)


@pytest.mark.parametrize("damage", ["weights cut", "config is text"])
def test_a_damaged_checkpoint_is_named(film: Path, checkpoint: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "checkpoint"
    for file in (path for path in checkpoint.rglob("*") if path.is_file()):
        target = copy / file.relative_to(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        if damage == "weights cut" and file.match("vae/*.safetensors"):
            content = content[: len(content) // 2]
        if damage == "config is text" and file.match("transformer/config.json"):
            content = b"hello"
        target.write_bytes(content)
    with pytest.raises(InputError, match=f"{copy}.*(does not load|not a readable)"):
        predict(config(film, copy, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_listed_rigs_are_predicted_together(
    footage_folder: Path, footage_manifest: list, checkpoint: Path, tmp_path: Path
) -> None:
    rigs = sorted({Path(entry["file"]).parent for entry in footage_manifest if entry["file"].startswith("multicam/")})
    if not rigs:
        pytest.skip("no rig is listed in the footage collection")
    for number, rig in enumerate(rigs):
        stems = {Path(entry["file"]).stem for entry in footage_manifest if Path(entry["file"]).parent == rig}
        names = sorted({stem.rpartition("_")[0] for stem in stems})[:2]
        cameras = (f"CAM_FRONT:{names[0]}", *names[1:])
        result = predict(config(footage_folder / rig, checkpoint, tmp_path / str(number), cameras=cameras, chunks=1))
        assert result["cameras"] == ["CAM_FRONT", *names[1:]]
        assert result["truth_frames"] == 9
