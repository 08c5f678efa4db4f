"""Statistics and tables, from given seconds."""

from dataclasses import replace

import numpy as np
import pytest
import small_artifact as small

from worldmodel.export.bench.config import BenchConfig, BenchEntry, entries_of
from worldmodel.export.bench.figures import Figures, disk_of, figures_of, timing
from worldmodel.export.bench.measurement import Measured, Memory, RolloutTime
from worldmodel.export.bench.report import machine_line, part_table, process_table, reasons, shown, whole_table
from worldmodel.export.runtime.artifact import Artifact


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> BenchEntry:
    folder = tmp_path_factory.mktemp("bench") / "artifact"
    small.write_artifact(folder)
    return entries_of(BenchConfig((str(folder),), ("onnxruntime",)), [Artifact.open(folder)])[0]


def measured(scale: float, memory: float = 100.0) -> Measured:
    """A process whose machine was `scale` times slower."""
    parts = {"encoder": (0.2 * scale,), "step": (0.1 * scale, 0.3 * scale, 0.2 * scale), "decoder": (0.4 * scale,)}
    rollouts = {"frames": RolloutTime(4 * scale, 2), "latents": RolloutTime(3 * scale, 1)}
    return Measured(
        scale, 0.5, parts, (1.5 * scale,), rollouts, Memory(10, memory, 2 * memory, None), {"onnxruntime": "1"}, None
    )


def test_statistics_are_numpys_over_all_runs() -> None:
    seconds = np.random.default_rng(0).uniform(1, 9, (3, 10))
    own, twice = seconds.tolist(), (2 * seconds).tolist()
    found = timing([*own, ()], [*twice[:2], (), (1.0,)])
    assert found.median_ms == pytest.approx(1e3 * np.median(seconds))
    assert found.p90_ms == pytest.approx(1e3 * np.percentile(seconds, 90))
    assert found.best_ms == pytest.approx(1e3 * seconds.min())
    assert found.speedup == pytest.approx(2.0), "of the rounds that both have"
    assert timing(own, [(), (), ()]).speedup is None


def test_ratios_are_taken_within_a_round(entry: BenchEntry) -> None:
    """A machine that is ten times slower in one round changes the medians, not the ratios."""
    own, reference = [measured(1), measured(10), measured(1)], [measured(3), measured(30), None]
    found = figures_of(entry, own, reference, entry.artifact)
    assert {part: one.speedup for part, one in found.parts.items()} == pytest.approx(dict.fromkeys(found.parts, 3.0))
    assert found.parts["step"].median_ms == pytest.approx(300) and found.parts["step"].best_ms == pytest.approx(100)
    assert found.prediction is not None and found.prediction.speedup == pytest.approx(3.0)
    assert found.times_real_time == pytest.approx(9 / 12 / 1.5), "9 frames at 12 Hz in 1.5 s"
    assert found.saved_share == pytest.approx(0.25) and found.load_seconds == pytest.approx(1.5)
    assert found.rollouts["latents"].encoder_calls == 1 and found.rollouts["frames"].seconds == pytest.approx(4)


def test_memory_is_the_most_of_all_rounds(entry: BenchEntry) -> None:
    rounds = [measured(1, memory) for memory in (100, 300, 200)]
    assert figures_of(entry, rounds, rounds, entry.artifact).memory == Memory(10, 300, 600, None)


def test_disk_counts_weights_beside_a_graph(entry: BenchEntry) -> None:
    folder = entry.artifact.folder
    size = {path.name: path.stat().st_size / 1e6 for path in folder.glob("*.onnx*")}
    found = disk_of(entry.artifact, entry.artifact)
    assert found.step_mb == pytest.approx(size["step.onnx"] + size["step.onnx.data"]) and found.step_smaller == 1
    assert found.all_mb == pytest.approx(sum(size.values()))


def figures(entry: BenchEntry) -> list[Figures]:
    """A reference and one that is twice as fast and lacks a part."""
    slow, fast = [measured(2)], [measured(1)]
    first = figures_of(entry, slow, slow, entry.artifact)
    second = figures_of(replace(entry, name="other"), fast, slow, entry.artifact)
    return [first, replace(second, parts={"step": second.parts["step"]}, prediction=None, times_real_time=None)]


def test_tables_can_be_read(entry: BenchEntry) -> None:
    both = figures(entry)
    parts, whole, process = part_table(both), whole_table(both, 2), process_table(both)
    for text in (parts, whole, process):
        assert len({len(line) for line in text.splitlines()}) == 1 and len(text.splitlines()[0]) <= 120
    assert [line.split("|")[1].strip() for line in parts.splitlines()[2:]] == ["encoder", "step", "step", "decoder"]
    assert "| step    | other            |       200 |    280 |     100 |   2.00 x |" in parts
    assert "8.00 |         6.00 | 25.0 % |        2 / 1 |" in whole and "| other            |    - |" in whole
    assert "GPU MB" not in process
    gpu = [replace(both[0], memory=Memory(None, None, None, 512.4))]
    assert "GPU MB" in process_table(gpu) and "| 512 |" in process_table(gpu).replace("   ", "")


def test_without_rollouts_there_are_no_columns_of_them(entry: BenchEntry) -> None:
    assert "chunks" not in whole_table([replace(one, rollouts={}) for one in figures(entry)], 0)


def test_numbers_and_cells() -> None:
    assert [shown(one) for one in (None, 0.123, 9.876, 12.34, 99.97, 1234.6)] == [
        "-", "0.12", "9.88", "12.3", "100.0", "1235"
    ]  # fmt: skip


def test_the_same_reason_is_said_once() -> None:
    said = reasons({"a": "no GPU", "b": "no memory", "c": "no GPU"})
    assert said == "- not run: a, c: no GPU\n- not run: b: no memory"


def test_a_busy_machine_is_said() -> None:
    machine = {"processor": "P", "cores": 4, "threads": 2, "system": "S", "versions": {"numpy": "2"}, "gpu": "G"}
    idle, busy = (machine_line(machine | {"load_average": [load, 0, 0]}) for load in (1.0, 3.0))
    assert "P, 4 cores, threads=2, S, G; load average 1.00" in idle and "busy" not in idle and "busy" in busy
