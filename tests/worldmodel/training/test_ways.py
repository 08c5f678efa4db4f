"""Other ways to train: straight from frames, from videos, several lengths, adapters, the conventional design."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from worldmodel.errors import InputError, MissingDependency
from worldmodel.measure.hashes import weights_hash
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training import DataConfig, LoraConfig, TrainConfig, ValidationConfig, train
from worldmodel.training.checkpoints import checkpoints_of


@pytest.fixture
def run(runs, tmp_path: Path) -> TrainConfig:
    """A short run that was not started yet."""
    return replace(runs.flowframes, out=str(tmp_path / "run"), steps=3, log_every=1, save_every=100)


def losses(folder: str) -> list[float]:
    return [json.loads(line)["loss"] for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


def test_straight_from_frames_is_training_from_the_cache_up_to_its_float16(run: TrainConfig) -> None:
    exact = replace(run, precision="no")
    train(exact)
    direct = replace(exact, out=run.out + "2", data=replace(run.data, latent_cache=False))
    train(direct)
    assert losses(direct.out) == pytest.approx(losses(exact.out), rel=2e-3)


def test_pictures_read_anew_give_what_the_decoded_store_gives(run: TrainConfig) -> None:
    direct = replace(run, precision="no", rho=0.0, data=replace(run.data, latent_cache=False))
    train(direct)
    anew = replace(direct, out=run.out + "2", data=replace(direct.data, decode_once=False, cameras=None))
    train(anew)
    assert len(losses(anew.out)) == 3
    assert not any(Path(run.data.store).glob("*anew*"))
    assert losses(anew.out) == pytest.approx(losses(direct.out), rel=1e-5)  # the same pairs in the same order


def film(path: Path, frames: int, rate: int = 10) -> None:
    """A drifting pattern, another for each name."""
    rows, columns = np.mgrid[:96, :128]
    shift = sum(map(ord, path.stem))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(frames):
            wave = 127 + 100 * np.sin((columns + 2 * number + shift) / 9) * np.cos((rows - number) / 7)
            picture = np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short videos of two frame rates, and one that is none."""
    folder = tmp_path_factory.mktemp("films")
    for name, frames, rate in (("one", 24, 10), ("two", 20, 10), ("three", 22, 25)):
        film(folder / f"{name}.mp4", frames, rate)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.parametrize("cached", [True, False])
def test_videos_of_two_lengths_and_rates(run: TrainConfig, films: Path, tmp_path: Path, cached: bool) -> None:
    data = DataConfig(
        videos=str(films), size=(64, 96), frames=(5, 9), stride=2, store=str(tmp_path / "store"), workers=0,
        latent_cache=cached,
    )  # fmt: skip
    train(replace(run, data=data, steps=8))
    assert len(losses(run.out)) == 8
    said = json.loads((Path(run.out) / "pipeline/training.json").read_text())
    assert said["samples"] == sum((frames - 10) // 2 + 1 + (frames - 18) // 2 + 1 for frames in (24, 20, 22))
    assert len(said["identity"]["samples"]) == 2
    assert bool([*(tmp_path / "store").glob("latents-*")]) is cached


def test_adapters_alone_are_trained_and_merged(run: TrainConfig, runs) -> None:
    adapted = replace(run, lora=LoraConfig(rank=2, alpha=4))
    folder = train(adapted)
    weights = checkpoints_of(Path(run.out))[-1] / "weights.safetensors"
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        assert all("lora" in name for name in file.keys())
    before, after = (FlowFramesPipeline.from_pretrained(where).transformer for where in (runs.pipelines[1], folder))
    names = {name for name, one in after.state_dict().items() if not torch.equal(one, before.state_dict()[name])}
    assert names
    assert all(name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")) for name in names)


def test_adapters_for_no_layer_are_named(run: TrainConfig) -> None:
    with pytest.raises(InputError, match="lora.targets"):
        train(replace(run, lora=LoraConfig(rank=2, targets=("to_nothing",))))


def test_from_scratch_forgets_the_transformer_and_keeps_the_vae(run: TrainConfig, runs) -> None:
    new = FlowFramesPipeline.from_pretrained(train(replace(run, from_scratch=True, steps=1)))
    old = FlowFramesPipeline.from_pretrained(runs.pipelines[1])
    assert weights_hash(new.vae) == weights_hash(old.vae)
    difference = new.transformer.proj_in.weight - old.transformer.proj_in.weight
    assert float(difference.abs().mean()) > 0.01


@pytest.mark.parametrize("objective", ["independent", "minibatch_ot", "noise_conditioned"])
def test_every_objective_trains(run: TrainConfig, objective: str) -> None:
    if objective == "minibatch_ot":
        pytest.importorskip("ot", reason="POT is not installed: pip install pot")
    folder = train(replace(run, objective=objective, checkpoint_gradients=objective == "independent"))
    assert (folder / "model_index.json").is_file()
    assert len(losses(run.out)) == 3


def test_the_conventional_design_starts_at_noise_and_sees_the_observed_chunk(run: TrainConfig) -> None:
    folder = train(replace(run, objective="noise_conditioned"))
    pipeline = NoiseConditionedPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    videos = torch.rand(2, 5, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    one, same = (pipeline(videos, num_inference_steps=2).frames for _ in range(2))
    other = pipeline(videos, num_inference_steps=2, generator=torch.Generator().manual_seed(1)).frames
    seen = pipeline(videos.flip(0), num_inference_steps=2).frames
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert not torch.allclose(one, seen)


def test_validation_predicts_held_out_pairs_and_leaves_the_training_alone(run: TrainConfig) -> None:
    checked = replace(run, validation=ValidationConfig(every=2, pairs=2, evaluations=2), trackers=("tensorboard",))
    train(checked)
    lines = [json.loads(line) for line in (Path(run.out) / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation_psnr_db" in line] == [2]
    with Image.open(Path(run.out) / "samples/validation-00000002.png") as picture:
        assert picture.size == (5 * 96, 2 * 64)
    assert list(Path(run.out).glob("trackers/**/events*"))
    train(replace(run, out=run.out + "2"))
    assert losses(run.out + "2") == [line["loss"] for line in lines if "loss" in line]


def test_a_tracker_that_is_not_installed_is_named(run: TrainConfig, monkeypatch) -> None:
    monkeypatch.setattr("worldmodel.training.log.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install wandb"):
        train(replace(run, trackers=("wandb",)))


def test_two_precisions_in_one_process(run: TrainConfig) -> None:
    train(replace(run, steps=1))
    train(replace(run, steps=1, precision="no", out=run.out + "2"))
    assert losses(run.out) != losses(run.out + "2")


def test_the_size_of_the_run_and_its_slow_paths_are_said(run: TrainConfig, capsys: pytest.CaptureFixture) -> None:
    train(replace(run, data=replace(run.data, latent_cache=False)))
    said = capsys.readouterr().out
    assert "48 tokens a sample, 2 samples a step" in said
    assert "slow: no GPU" in said
    assert "inverts in 4 evaluations" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"videos": "films"}, "exactly one of them"),
        ({"root": None}, "exactly one of them"),
        ({"frames": ()}, "at least one length"),
        ({"stride": 0}, r"data\.stride=0"),
    ],
)
def test_data_without_sense_is_refused(run: TrainConfig, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(run.data, **change)


def test_validation_of_videos_needs_its_own(run: TrainConfig, films: Path, tmp_path: Path) -> None:
    data = DataConfig(videos=str(films), size=(64, 96), frames=(5,), stride=2, store=str(tmp_path), workers=0)
    with pytest.raises(InputError, match="validation.videos"):
        train(replace(run, data=data, validation=ValidationConfig(every=1)))
