"""Resuming: bit for bit what an undisturbed run gives, however it was killed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from killed_runs import differences, run_killed, run_through
from safetensors.torch import load_file

from worldmodel.errors import InputError
from worldmodel.training import OptimizerConfig, TrainConfig, train
from worldmodel.training.checkpoints import checkpoints_of


@pytest.fixture(scope="module")
def run(runs, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run that was not started yet, with all kinds of randomness in it."""
    folder = tmp_path_factory.mktemp("resume")
    return replace(runs.flowframes, out=str(folder / "run"), steps=20, save_every=1, log_every=1, accumulate=2)


def of(run: TrainConfig, processes: int, cached: bool, out: Path) -> TrainConfig:
    data = replace(run.data, latent_cache=cached, store=f"{run.data.store}-of-{processes}")
    return replace(run, data=data, batch_size=4 // processes, out=str(out))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bits(
    run: TrainConfig, tmp_path: Path, processes: int, cached: bool
) -> None:
    """Twenty kills over the four cases; half of them while a checkpoint is written."""
    whole, broken = (of(run, processes, cached, tmp_path / kind) for kind in ("whole", "broken"))
    assert run_through(whole, processes)
    found = run_killed(broken, kills=5, seed=10 * processes + cached, processes=processes)
    assert found.kills >= 3
    assert found.unreadable == 0
    assert differences(Path(whole.out), Path(broken.out)) == []


def test_two_processes_with_accumulation_give_the_update_of_one(run: TrainConfig, tmp_path: Path) -> None:
    exact = replace(run, precision="no", steps=3, optimizer=OptimizerConfig(lr=1e-3, warmup=0))
    one = replace(exact, batch_size=8, accumulate=1, out=str(tmp_path / "one"))
    two = replace(exact, batch_size=2, accumulate=2, out=str(tmp_path / "two"))
    assert run_through(one, 1)
    assert run_through(two, 2)
    first, second = (load_file(checkpoints_of(Path(each.out))[-1] / "weights.safetensors") for each in (one, two))
    moved = 3 * 1e-3  # what three steps at this rate may move a weight
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-3 * moved
    start = load_file(checkpoints_of(Path(one.out))[0] / "weights.safetensors")
    assert max(float((first[name] - start[name]).abs().max()) for name in first) > 1e-4  # it did move


def test_a_checkpoint_of_two_processes_goes_on_as_one(run: TrainConfig, tmp_path: Path) -> None:
    exact = replace(run, precision="no", steps=4, batch_size=2, accumulate=2, out=str(tmp_path / "run"))
    assert run_through(exact, 2)
    shutil.rmtree(checkpoints_of(tmp_path / "run")[-1])
    assert len(checkpoints_of(tmp_path / "run")) == 1
    train(replace(exact, batch_size=8, accumulate=1, resume=True))
    assert json.loads((tmp_path / "run/pipeline/training.json").read_text())["progress"]["step"] == 4


def test_changed_settings_are_named(run: TrainConfig, tmp_path: Path) -> None:
    short = replace(run, out=str(tmp_path / "run"), steps=2)
    train(short)
    with pytest.raises(InputError) as raised:
        train(replace(short, resume=True, rho=0.5, optimizer=replace(short.optimizer, lr=1e-4)))
    assert "optimizer.lr was 0.002, is 0.0001" in str(raised.value)
    assert "rho was 0.7, is 0.5" in str(raised.value)
    train(replace(short, resume=True, log_every=7))  # what does not change the result may change


@pytest.mark.parametrize(
    ("objective", "refused"), [("independent", True), ("minibatch_ot", True), ("noise_conditioned", False)]
)
def test_the_split_of_a_step_is_settled_where_chunks_are_paired_within_a_batch(
    run: TrainConfig, tmp_path: Path, objective: str, refused: bool
) -> None:
    if objective == "minibatch_ot":
        pytest.importorskip("ot", reason="POT is not installed: pip install pot")
    whole = replace(run, objective=objective, out=str(tmp_path / "run"), steps=2, batch_size=4, accumulate=1)
    train(whole)
    shutil.rmtree(checkpoints_of(tmp_path / "run")[-1])
    split = replace(whole, resume=True, batch_size=2, accumulate=2)
    if refused:
        with pytest.raises(InputError, match=r"\(accumulate was 1, is 2, batch_size was 4, is 2\)"):
            train(split)
    else:
        train(split)


def test_resume_and_overwrite_must_be_said(run: TrainConfig, tmp_path: Path) -> None:
    short = replace(run, out=str(tmp_path / "run"), steps=1)
    with pytest.raises(InputError, match="holds no run to resume"):
        train(replace(short, resume=True))
    with pytest.raises(InputError, match="resume, overwrite"):
        replace(short, resume=True, overwrite=True)
    train(short)
    with pytest.raises(InputError, match="resume=true or overwrite=true"):
        train(short)


def test_the_log_has_every_step_once(run: TrainConfig, tmp_path: Path) -> None:
    short = replace(run, out=str(tmp_path / "run"), steps=4, save_every=2)
    train(short)
    shutil.rmtree(checkpoints_of(tmp_path / "run")[-1])  # as if killed after the third step
    with (tmp_path / "run/log.jsonl").open("a") as log:
        log.write('{"step": 9, "lo')
    train(replace(short, resume=True))
    lines = [json.loads(line)["step"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "weights cut off": lambda folder: cut(folder / "weights.safetensors"),
    "optimiser of zeros": lambda folder: (folder / "optimizer.safetensors").write_bytes(bytes(4096)),
    "average absent": lambda folder: (folder / "average.safetensors").unlink(),
    "state empty": lambda folder: (folder / "state.json").write_bytes(b""),
    "state cut off": lambda folder: cut(folder / "state.json"),
    "state of another kind": lambda folder: (folder / "state.json").write_text('{"fingerprint": []}'),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def finished(run: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of three steps, each with its checkpoint."""
    short = replace(run, out=str(tmp_path_factory.mktemp("finished") / "run"), steps=3, keep=3)
    train(short)
    return short


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_goes_on(
    finished: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    newest = checkpoints_of(tmp_path / "run")[-1]
    DAMAGE[kind](newest)
    train(replace(finished, out=str(tmp_path / "run"), resume=True))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resume: ")]
    assert said[0].startswith(f"resume: {newest}: damaged (") and said[0].endswith("), set aside")
    assert said[1] == f"resume: {newest.with_name('step-00000002')}: the run goes on from here"
    assert differences(Path(finished.out), tmp_path / "run") == []
    assert newest.with_name(f"damaged-{newest.name}").is_dir()


def test_where_no_checkpoint_is_whole_it_is_one_sentence_and_nothing_is_moved(
    finished: TrainConfig, tmp_path: Path
) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    folders = checkpoints_of(tmp_path / "run")
    for folder in folders:
        cut(folder / "weights.safetensors")
    with pytest.raises(InputError, match="no checkpoint can be read .*begin again with overwrite=true") as raised:
        train(replace(finished, out=str(tmp_path / "run"), resume=True))
    assert "\n" not in str(raised.value) and checkpoints_of(tmp_path / "run") == folders


def test_a_checkpoint_from_before_there_were_conventions_goes_on(finished: TrainConfig, tmp_path: Path) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    newest = checkpoints_of(tmp_path / "run")[-1]
    said = json.loads((newest / "state.json").read_text())
    del said["fingerprint"]["conventions"]
    (newest / "state.json").write_text(json.dumps(said))
    train(replace(finished, out=str(tmp_path / "run"), resume=True))


def test_only_the_newest_checkpoints_stay(run: TrainConfig, tmp_path: Path) -> None:
    train(replace(run, out=str(tmp_path / "run"), steps=5, keep=3))
    assert [folder.name[-1] for folder in checkpoints_of(tmp_path / "run")] == ["3", "4", "5"]
