"""The three runs that make a tiny model, end to end on a drive of one second."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from worldmodel.datasets.pairs import Batch
from worldmodel.errors import InputError
from worldmodel.measure.hashes import weights_hash
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training import AutoencoderConfig, OptimizerConfig, TrainConfig, train
from worldmodel.training.checkpoints import checkpoints_of
from worldmodel.training.curves import plot_logs
from worldmodel.training.objectives import FlowFramesObjective


def log_of(run: TrainConfig) -> list[dict]:
    return [json.loads(line) for line in (Path(run.out) / "log.jsonl").read_text().splitlines()]


def test_each_run_leaves_a_pipeline_that_predicts(runs) -> None:
    for folder in runs.pipelines:
        pipeline = FlowFramesPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        frames = pipeline(torch.rand(2, 5, 3, 64, 96), num_inference_steps=2).frames
        assert frames.shape == (2, 5, 3, 64, 96)


def test_a_run_trains_its_own_part_and_nothing_else(runs) -> None:
    vae, base, flow = (FlowFramesPipeline.from_pretrained(folder) for folder in runs.pipelines)
    assert weights_hash(vae.vae) == weights_hash(base.vae) == weights_hash(flow.vae)
    assert len({weights_hash(pipeline.transformer) for pipeline in (vae, base, flow)}) == 3


def test_the_loss_falls(runs) -> None:
    entries = log_of(runs.autoencoder)
    assert entries[-1]["loss"] < 0.7 * entries[0]["loss"]
    assert entries[-1]["psnr"] > entries[0]["psnr"] + 1


def test_the_log_has_every_fifth_step(runs) -> None:
    for run in (runs.autoencoder, runs.base, runs.flowframes):
        assert [entry["step"] for entry in log_of(run)] == [5, 10, 15, 20, 25, 30]
        assert all({"loss", "grad_norm", "lr", "seconds"} <= set(entry) for entry in log_of(run))


def test_the_log_has_the_mean_over_the_batches_of_a_step(runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, found = FlowFramesObjective.forward, []

    def noted(objective: FlowFramesObjective, batch: Batch) -> dict[str, torch.Tensor]:
        found.append(forward(objective, batch))
        return found[-1]

    monkeypatch.setattr(FlowFramesObjective, "forward", noted)
    run = replace(runs.flowframes, out=str(tmp_path / "run"), steps=2, accumulate=3, log_every=1)
    train(run)
    for name in ("loss", "unexplained"):
        values = torch.tensor([float(one[name]) for one in found]).reshape(2, 3)
        assert values.std(1).min() > 0
        assert [entry[name] for entry in log_of(run)] == pytest.approx(values.mean(1).tolist(), rel=1e-6)


def test_the_log_has_the_learning_rate_that_the_step_used(runs, tmp_path: Path) -> None:
    rate = OptimizerConfig(lr=1e-3, warmup=2, schedule="constant_with_warmup")
    run = replace(runs.flowframes, out=str(tmp_path / "run"), steps=4, log_every=1, save_every=2, optimizer=rate)
    train(run)
    used = [0.0, 5e-4, 1e-3, 1e-3]
    assert [entry["lr"] for entry in log_of(run)] == used
    shutil.rmtree(checkpoints_of(tmp_path / "run")[-1])
    train(replace(run, resume=True))
    assert [entry["lr"] for entry in log_of(run)] == used


def test_the_vae_carries_its_latents_moments(runs) -> None:
    vae = FlowFramesPipeline.from_pretrained(runs.pipelines[0]).vae
    assert not torch.allclose(vae.latents_mean, torch.zeros(8))
    assert (vae.latents_std > 0).all()
    assert not torch.allclose(vae.latents_std, torch.ones(8))


def test_chunks_are_inverted_for_target_inversion_only(runs, tmp_path: Path) -> None:
    folder = tmp_path / "store"  # of its own: other tests' caches of other precisions lie in that of the runs
    for run in (runs.base, runs.flowframes):
        own = replace(run.data, store=str(folder))
        train(replace(run, data=own, out=str(tmp_path / run.objective), steps=1))
    kept = {path.name for path in folder.rglob("latents-*") if path.is_dir()}
    assert len([name for name in kept if "inverted2" in name]) == 1
    assert len([name for name in kept if "inverted" not in name]) == 1
    for name, change in {"plain": {"rho": 0.0}, "independent": {"objective": "independent"}}.items():
        train(replace(runs.flowframes, data=own, out=str(tmp_path / name), steps=1, **change))
    assert {path.name for path in folder.rglob("latents-*") if path.is_dir()} == kept


def test_training_json_says_how(runs) -> None:
    said = json.loads((runs.pipelines[2] / "training.json").read_text())
    assert said["config"]["objective"] == "flowframes"
    assert said["config"]["seed"] == 0
    assert [len(sha256) for sha256 in said["identity"]["samples"]] == [64]
    assert said["samples"] == 6 * (13 - 10 + 1)


def test_equal_seeds_give_equal_weights(autoencoder_run: TrainConfig, tmp_path: Path) -> None:
    hashes = []
    for seed in (1, 1, 2):
        run = replace(autoencoder_run, out=str(tmp_path / f"run{len(hashes)}"), steps=3, seed=seed)
        hashes.append(weights_hash(FlowFramesPipeline.from_pretrained(train(run)).vae))
    assert hashes[0] == hashes[1] != hashes[2]


def test_checkpoints_hold_raw_and_averaged_weights_and_the_optimiser(runs) -> None:
    folders = checkpoints_of(Path(runs.autoencoder.out))
    assert [folder.name for folder in folders] == ["step-00000020", "step-00000030"]
    averaged = load_file(folders[0] / "average.safetensors")
    raw = load_file(folders[0] / "weights.safetensors")
    assert len(averaged) > 10
    assert any(not torch.equal(averaged[name], raw[name]) for name in averaged)
    assert json.loads((folders[0] / "state.json").read_text())["progress"]["step"] == 20
    assert any(name.endswith("|exp_avg") for name in load_file(folders[0] / "optimizer.safetensors"))
    assert not [path for path in Path(runs.autoencoder.out).rglob("*") if "part" in path.name]


def test_an_existing_run_is_refused_and_kept(runs) -> None:
    before = (Path(runs.base.out) / "log.jsonl").read_bytes()
    with pytest.raises(InputError, match="overwrite=true"):
        train(runs.base)
    assert (Path(runs.base.out) / "log.jsonl").read_bytes() == before


def test_overwrite_replaces_a_run(autoencoder_run: TrainConfig, tmp_path: Path) -> None:
    run = replace(autoencoder_run, out=str(tmp_path / "run"), steps=2, log_every=1)
    train(run)
    train(replace(run, overwrite=True, steps=1))
    assert [entry["step"] for entry in log_of(run)] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "flowframes"}, "needs a trained VAE"),
        ({"objective": "flowframes", "pretrained": "nowhere"}, "pretrained=nowhere"),
        ({"batch_size": 1000}, "use a smaller batch"),
        ({"autoencoder": AutoencoderConfig(crop=(128, 128))}, "autoencoder.crop"),
    ],
)
def test_what_cannot_be_trained_is_named(
    autoencoder_run: TrainConfig, tmp_path: Path, change: dict, message: str
) -> None:
    run = replace(autoencoder_run, out=str(tmp_path / "run"), steps=1, **change)
    with pytest.raises(InputError, match=message) as raised:
        train(run)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "pipeline").exists()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: install g++")
def test_compiled_blocks_learn_the_same(runs, tmp_path: Path) -> None:
    losses = []
    for compiled in (False, True):
        out = tmp_path / f"compiled_{compiled}"
        train(replace(runs.flowframes, out=str(out), steps=3, log_every=1, compile=compiled))
        losses.append([json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()])
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)  # bfloat16


def test_compile_without_a_compiler_is_named(runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldmodel.training.estimate.shutil.which", lambda name: None)
    with pytest.raises(InputError, match="install g"):
        train(replace(runs.flowframes, out=str(tmp_path / "run"), steps=1, compile=True))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"rho": 1.5},
        {"inversion_steps": 0},
        {"batch_size": 0},
        {"compile": True},
    ],
)
def test_settings_without_sense_are_refused(autoencoder_run: TrainConfig, change: dict) -> None:
    with pytest.raises(InputError):
        replace(autoencoder_run, **change)


def test_the_curves_are_a_picture_of_every_run(runs, tmp_path: Path) -> None:
    logs = [Path(run.out) / "log.jsonl" for run in (runs.autoencoder, runs.base, runs.flowframes)]
    with Image.open(plot_logs(logs, tmp_path / "curves.png")) as picture:
        assert picture.size[0] > 3 * 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_curves_pass_over_validations_and_a_line_that_is_being_written(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 2.0}', '{"step": 1, "validation_psnr_db": 20.0}', '{"step": 2, "loss": 1.0}', '{"st']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    with Image.open(plot_logs([tmp_path / "log.jsonl"], tmp_path / "curves.png")) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
