"""What goes wrong in long runs ends clearly, with a checkpoint, or is counted."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_runs import run_through, started
from torch.utils.data import DataLoader
from torch.utils.data._utils import signal_handling

from worldmodel.datasets.pairs import Batch, PixelPair
from worldmodel.datasets.reading import dead_processes_named, reader_died, reading
from worldmodel.errors import InputError, RunFailed, Stopped
from worldmodel.training import TrainConfig, data, train
from worldmodel.training.checkpoints import checkpoints_of
from worldmodel.training.chunks import Readable, StorePairs
from worldmodel.training.objectives import FlowFramesObjective
from worldmodel.training.stopping import SIGNALS


@pytest.fixture
def run(runs, tmp_path: Path) -> TrainConfig:
    """A short run that was not started yet."""
    return replace(runs.flowframes, out=str(tmp_path / "run"), steps=6, log_every=1, save_every=2)


def lines(run: TrainConfig) -> list[dict]:
    return [json.loads(line) for line in (Path(run.out) / "log.jsonl").read_text().splitlines()]


def broken_from(first: int, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses of calls `first` to `last` become infinite."""
    forward, calls = FlowFramesObjective.forward, iter(range(1, 1000))

    def failing(self: FlowFramesObjective, batch: Batch) -> dict[str, torch.Tensor]:
        losses = forward(self, batch)
        factor = float("inf") if first <= next(calls) <= last else 1.0
        return {name: loss * factor for name, loss in losses.items()}

    monkeypatch.setattr(FlowFramesObjective, "forward", failing)


def test_a_step_without_finite_gradient_is_skipped_and_counted(run: TrainConfig, monkeypatch) -> None:
    broken_from(3, 4, monkeypatch)
    train(run)
    assert [line.get("skipped_steps", 0) for line in lines(run)] == [0, 0, 1, 2, 2, 2]
    said = json.loads((Path(run.out) / "pipeline/training.json").read_text())
    assert said["progress"]["skipped_steps"] == 2


def test_gradients_that_stay_infinite_end_the_run_with_a_checkpoint(run: TrainConfig, monkeypatch) -> None:
    broken_from(2, 1000, monkeypatch)
    with pytest.raises(RunFailed, match="no finite gradient in 10 steps in a row.*resume=true"):
        train(replace(run, steps=30))
    assert checkpoints_of(Path(run.out))[-1].name == "step-00000011"
    monkeypatch.undo()
    train(replace(run, steps=30, resume=True))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(run: TrainConfig, number: signal.Signals) -> None:
    def tell() -> None:
        while not checkpoints_of(Path(run.out)):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(Stopped, match=f"stopped by {number.name}: .* was written, resume=true"):
        train(replace(run, steps=100_000))
    teller.join()
    assert signal.getsignal(number) is before
    step = json.loads((checkpoints_of(Path(run.out))[-1] / "state.json").read_text())["progress"]["step"]
    assert step >= 2
    assert not (Path(run.out) / "pipeline").exists()


def test_one_of_two_processes_told_to_stop_stops_both(run: TrainConfig) -> None:
    endless = replace(run, steps=100_000, batch_size=1)
    with started(endless, 2) as both:
        while not checkpoints_of(Path(run.out)) and all(one.is_alive() for one in both):
            time.sleep(0.02)
        os.kill(both[1].pid, signal.SIGTERM)
        for one in both:
            one.join(60)
        assert [one.exitcode for one in both] == [1, 1]  # both raised Stopped
    assert not list((Path(run.out) / "checkpoints").glob(".partial-*"))


class Fatal:
    """Pairs whose sixth sample kills the process that reads it."""

    def __init__(self, pairs: StorePairs) -> None:
        self.pairs, self.identity = pairs, pairs.identity

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> PixelPair:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pairs[number]


@pytest.mark.parametrize("others", [False, True], ids=["alone", "after another loader"])
def test_a_dead_reader_ends_the_run_with_a_checkpoint(run: TrainConfig, monkeypatch, others: bool) -> None:
    """Another loader of the process, as of a cache, leaves torch's handler, which raises in the middle of an update;
    the updates here last long enough for it."""
    quiet = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if others:
        monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
        assert len(list(DataLoader(range(4), num_workers=1))) == 4
    before = signal.getsignal(signal.SIGCHLD)
    assert callable(before) == others
    opened, forward = data.open_lengths, FlowFramesObjective.forward
    monkeypatch.setattr(data, "open_lengths", lambda *given: [Fatal(pairs) for pairs in opened(*given)])
    monkeypatch.setattr(FlowFramesObjective, "forward", lambda *given: time.sleep(0.5) or forward(*given))
    reading = replace(run, rho=0.0, data=replace(run.data, latent_cache=False, workers=1), steps=40)
    with pytest.raises(RunFailed, match="a reader process died.*was written, resume=true"):
        train(reading)
    assert checkpoints_of(Path(run.out))
    assert signal.signal(signal.SIGCHLD, quiet) == before
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("error", "died"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), True),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (EOFError(), True),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nwrong shape"), False),
        (ConnectionError("Caught ConnectionError in DataLoader worker process 0.\nno such host"), False),
        (RuntimeError("out of memory"), False),
    ],
)
def test_a_dead_reader_is_told_from_an_error_in_one(error: Exception, died: bool) -> None:
    assert reader_died(error) == died


class ToldToStop(Fatal):
    """Pairs whose reader is told to stop, twice in each way, as by a launcher and again by its user."""

    def __getitem__(self, number: int) -> PixelPair:
        for told in 2 * SIGNALS:
            os.kill(os.getpid(), told)
        return self.pairs[number]


def test_a_reader_that_is_told_to_stop_reads_on_and_ends_with_the_run(run: TrainConfig, monkeypatch) -> None:
    opened = data.open_lengths
    monkeypatch.setattr(data, "open_lengths", lambda *given: [ToldToStop(pairs) for pairs in opened(*given)])
    train(replace(run, rho=0.0, data=replace(run.data, latent_cache=False, workers=2)))
    assert [line["step"] for line in lines(run)] == [1, 2, 3, 4, 5, 6]
    assert multiprocessing.active_children() == []


class Spoilt:
    """Pairs of which some cannot be read."""

    identity = "spoilt"

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> PixelPair:
        if number in self.bad:
            raise InputError(f"pair {number} is damaged")
        chunk = torch.zeros(1, 1, 3, 2, 2, dtype=torch.uint8)
        return PixelPair(f"scene {number}", ("front",), chunk, chunk, np.zeros((1, 2)), 12.0)


def test_what_cannot_be_read_is_replaced_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    pairs = Readable(Spoilt({1, 2, 5}))
    assert [pairs[number].scene for number in range(6)] == [f"scene {number}" for number in (0, 3, 3, 3, 4, 0)]
    assert [pairs[number].replaced for number in range(6)] == [False, True, True, False, False, True]
    assert "pair 2 is damaged" in caplog.text
    with pytest.raises(InputError, match="cannot be read; the last: pair 5"):
        Readable(Spoilt(set(range(6))))[0]


def test_replaced_samples_are_in_the_log(run: TrainConfig, monkeypatch) -> None:
    class Gaps(StorePairs):
        def __getitem__(self, number: int) -> PixelPair:
            if number % 3 == 0:
                raise InputError(f"pair {number} is damaged")
            return super().__getitem__(number)

    monkeypatch.setattr("worldmodel.training.data.StorePairs", Gaps)
    spoilt = replace(run.data, latent_cache=False, skip_bad=True)
    train(replace(run, data=spoilt, rho=0.0))
    assert lines(run)[-1]["replaced_samples"] > 0
    with pytest.raises(InputError, match="is damaged"):
        train(replace(run, data=replace(spoilt, skip_bad=False), rho=0.0, out=run.out + "2"))


@pytest.mark.parametrize("cached", [True, False])
def test_a_readers_error_is_the_sentence_that_it_was(
    run: TrainConfig, monkeypatch, tmp_path: Path, cached: bool
) -> None:
    class Torn(StorePairs):
        def __getitem__(self, number: int) -> PixelPair:
            if number == 2:
                raise InputError(f"film.mp4: frame {number} is damaged; take the film out")
            return super().__getitem__(number)

    monkeypatch.setattr("worldmodel.training.data.StorePairs", Torn)
    torn = replace(run.data, latent_cache=cached, workers=1, store=str(tmp_path / "store"))
    with pytest.raises(InputError) as error:
        train(replace(run, data=torn, rho=0.0))
    assert str(error.value) == "film.mp4: frame 2 is damaged; take the film out"
    assert multiprocessing.active_children() == []


class Lost:
    """Samples of which one is a file that is gone, and one kills its reader."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> int:
        if number == 1:
            Path("gone.jpg").read_bytes()
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_readers_missing_file_and_its_death_are_named() -> None:
    with reading(Lost(), list, 1, "data.workers=0", batch_size=1, sampler=[0, 1]) as read:
        assert next(read) == [0]
        with pytest.raises(FileNotFoundError) as missing:
            next(read)
    assert (missing.value.filename, missing.value.strerror) == ("gone.jpg", "No such file or directory")
    with pytest.raises(RunFailed, match="a reader process died .*; with less memory use data.workers=0"):
        with reading(Lost(), list, 1, "data.workers=0", batch_size=1, sampler=[3]) as read:
            list(read)
    assert multiprocessing.active_children() == []


def test_a_drawing_process_that_dies_is_named() -> None:
    with pytest.raises(RunFailed, match="a drawing process died .*; with less memory use workers=1"):
        with dead_processes_named("workers=1", "drawing"), ProcessPoolExecutor(1, get_context("fork")) as pool:
            pool.submit(os.kill, os.getpid(), 0).result()
            pool.submit(os._exit, 9).result()


def test_two_launched_processes_on_a_cpu_are_one_run_whatever_the_device_says(run: TrainConfig) -> None:
    both = replace(run, device="auto", batch_size=1, steps=2)
    assert run_through(both, 2)
    said = json.loads((Path(run.out) / "pipeline/training.json").read_text())
    assert said["processes"] == 2
    assert [line["step"] for line in lines(run)] == [1, 2]


def test_processes_that_would_train_side_by_side_are_refused(run: TrainConfig, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes were started and 1 would train together: start them with"):
        train(run)
    assert not Path(run.out).exists()


FULL_DISK = """
import json, resource, signal, sys
from worldmodel.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(json.loads(sys.argv[2])))
"""


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(run: TrainConfig, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the same error comes from the same calls."""
    train(replace(run, keep=9))
    for folder in (*checkpoints_of(Path(run.out))[1:], Path(run.out) / "pipeline"):
        shutil.rmtree(folder)
    before = {path: path.read_bytes() for path in (Path(run.out) / "checkpoints").rglob("*") if path.is_file()}
    assert len(before) == 4
    settings = json.loads((Path(run.out) / "config.json").read_text())
    words = ["train", *_words(settings | {"resume": True})]
    largest = max(len(content) for content in before.values())
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(largest // 2), json.dumps(words)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "File too large" in last
    assert {path: path.read_bytes() for path in before} == before
    assert not list((Path(run.out) / "checkpoints").glob(".partial-*"))


def _words(settings: dict, prefix: str = "") -> list[str]:
    """Settings as words of the command line."""
    words: list[str] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            words += _words(value, f"{prefix}{name}.")
        else:
            text = (
                "null" if value is None else json.dumps(value).replace(" ", "") if not isinstance(value, str) else value
            )
            words.append(f"{prefix}{name}={text}")
    return words
