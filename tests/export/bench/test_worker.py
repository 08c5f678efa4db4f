"""What one process measures, and what becomes of one that refuses or dies."""

from dataclasses import replace
from pathlib import Path

import pytest
import small_artifact as small

from worldmodel.errors import InputError
from worldmodel.export.bench.measurement import BenchRequest, Measured, measured_apart
from worldmodel.export.bench.worker import measure

PARTS = ("encoder", "step", "decoder")
PAIR = ("encoder", "step", "decoder_first", "decoder_next")


@pytest.fixture
def bench_request(tmp_path: Path) -> BenchRequest:
    small.write_artifact(tmp_path / "artifact")
    return BenchRequest(str(tmp_path / "artifact"), "onnxruntime", "cpu", 1, PARTS, 2, 0, 2, 3, True)


def counts(measured: Measured) -> dict[str, int]:
    return {part: len(seconds) for part, seconds in measured.parts.items()}


def test_every_part_the_predictions_and_both_rollouts(bench_request: BenchRequest) -> None:
    found = measure(bench_request)
    assert counts(found) == {"encoder": 2, "step": 2, "decoder": 2} and len(found.predictions) == 2
    assert {feed: one.encoder_calls for feed, one in found.rollouts.items()} == {"frames": 3, "latents": 1}
    seconds = [*found.predictions, *(one for part in found.parts.values() for one in part)]
    assert min(seconds) > 0 and found.load_seconds > 0 and found.first_seconds > 0
    memory = found.memory
    assert memory.gpu is None and memory.before and memory.loading and memory.working
    assert memory.loading >= memory.before > 20, "MB, and numpy is loaded"


def test_only_what_was_asked_for(bench_request: BenchRequest) -> None:
    found = measure(replace(bench_request, parts=("step",), end_to_end=False, chunks=0, iterations=5, warmup=1))
    assert counts(found) == {"step": 5} and found.predictions == () and found.rollouts == {}
    assert len(measure(replace(bench_request, iterations=5)).predictions) == 3, "a prediction is many runs already"


def test_a_streaming_pair(bench_request: BenchRequest, tmp_path: Path) -> None:
    small.write_artifact(tmp_path / "pair", streams=True)
    found = measure(replace(bench_request, artifact=str(tmp_path / "pair"), parts=PAIR, iterations=1))
    assert counts(found) == dict.fromkeys(PAIR, 1) and found.rollouts["latents"].encoder_calls == 1


def test_a_process_of_its_own_without_torch(bench_request: BenchRequest) -> None:
    found = measured_apart(replace(bench_request, iterations=1))
    assert counts(found) == dict.fromkeys(PARTS, 1) and list(found.versions) == ["onnxruntime"] and found.device is None


def test_a_refusal_is_the_answer(bench_request: BenchRequest) -> None:
    with pytest.raises(InputError, match="step.onnx.data: altered or incomplete"):
        (Path(bench_request.artifact) / "step.onnx.data").write_bytes(b"0")
        measured_apart(bench_request)


def test_a_failure_is_the_answer_too(bench_request: BenchRequest) -> None:
    with pytest.raises(InputError, match="^KeyError: 'vae'$"):
        measured_apart(replace(bench_request, parts=("vae",)))
