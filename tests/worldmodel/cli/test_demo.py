"""The demo on a shorter toy drive with random weights, as a user runs it: from an empty folder, twice."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.cli.commands.demo import DemoConfig, run_demo
from worldmodel.cli.main import main
from worldmodel.datasets.nuscenes import RING
from worldmodel.errors import InputError
from worldmodel.models.pipeline import FlowFramesPipeline

pytestmark = pytest.mark.slow

KEYS = {"train_scenes": 0, "val_scenes": 1, "seconds": 1.5, "frames": 5, "size": (32, 48), "steps": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, temporal=4)
    network = tiny_transformer(vae.config.latent_channels, layers=1, heads=2, head_dim=16, caption_channels=16)
    folder = tmp_path_factory.mktemp("checkpoint") / "pipeline"
    FlowFramesPipeline.from_backbone(tiny_backbone(vae, network)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A folder that was empty, after one demo by the command line."""
    folder = tmp_path_factory.mktemp("demo")
    words = [f"{key}={value}".replace("(", "[").replace(")", "]").replace(" ", "") for key, value in KEYS.items()]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        assert main(["demo", f"checkpoint={checkpoint}", *words]) == 0
    (folder / "printed.txt").write_text(printed.getvalue())
    return folder


def test_an_empty_folder_gets_data_pictures_and_a_table(empty_folder: Path) -> None:
    printed = (empty_folder / "printed.txt").read_text().splitlines()
    headline = json.loads(printed[-1])
    assert set(headline["mean"]) == {"flowframes", "repeat last", "VAE round trip"}
    assert headline["nfe"] == 4
    assert [line.split()[0] for line in printed if line.startswith("CAM_")] == list(RING)
    out = empty_folder / "outputs" / "demo"
    assert {entry.name for entry in out.iterdir()} == {
        "prediction.json", "rollout.rrd", "rollout.mp4", "sheet.png", "frames",
    }  # fmt: skip
    written = json.loads((out / "prediction.json").read_text())
    assert written["scene"] == "toy-9000"
    assert written["truth_frames"] == written["predicted_frames"] == 10
    assert len(list((out / "frames" / "CAM_BACK").glob("*.png"))) == 10


def test_a_second_demo_reuses_the_drive_and_gives_the_same(
    empty_folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(empty_folder)
    before = json.loads(Path("outputs/demo/prediction.json").read_text())
    card = Path("data/toyworld-demo/toyworld.json").stat().st_mtime_ns
    after = run_demo(DemoConfig(checkpoint=str(checkpoint), **KEYS))
    assert "reused" in capsys.readouterr().out
    assert Path("data/toyworld-demo/toyworld.json").stat().st_mtime_ns == card
    assert after["scores"] == before["scores"]


def test_what_the_demo_refuses(empty_folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty_folder)
    config = DemoConfig(checkpoint=str(checkpoint), **KEYS)
    with pytest.raises(InputError, match="not a validation scene .* choose one of toy-9000"):
        run_demo(replace(config, scene="toy-0000"))
    with pytest.raises(InputError, match="overwrite=true"):
        run_demo(replace(config, seed=1))
    with pytest.raises(InputError, match="no earlier prediction"):
        run_demo(replace(config, out="data/toyworld-demo"))
