"""suite=memory and suite=latency at small sizes, and the arithmetic of the paper's Tables 1 and 5."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.benchmarks.methods.method import SeededNoise
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.suites import memory, volumes
from worldmodel.benchmarks.suites.config import BenchmarkConfig, CostConfig
from worldmodel.benchmarks.suites.run import benchmark
from worldmodel.conventions import PUBLISHED
from worldmodel.errors import InputError
from worldmodel.measure.timing import timed_stages

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("label", "published"),
    [
        ("vista", [294_912, 368_640, 479_232, 589_824, 884_736]),
        ("ltxv_condition", [299_520, 399_360, 499_200, 599_040, 898_560]),
        ("flowframes_wan", [299_520, 399_360, 499_200, 599_040, 898_560]),
    ],
)
def test_volumes_are_those_of_table_5(label: str, published: list[int]) -> None:
    assert [volumes.volume_of(label, which, small=False) for which in range(5)] == published


def test_the_published_volumes_count_both_chunks_of_shorter_inputs() -> None:
    """Own inputs of 17, 25, 33, 41 and 65 frames, counted twice, are the five rows of Table 5 as well."""
    published = [volumes.volume_of("flowframes_ltxv", which, False, PUBLISHED.memory) for which in range(5)]
    assert published == [299_520, 399_360, 499_200, 599_040, 898_560]
    options = [volumes.options_at("flowframes_ltxv", n, False, True, {}, PUBLISHED.memory) for n in range(5)]
    assert [one["frames"] for one in options] == [17, 25, 33, 41, 65]


def test_published_lines_leave_encoding_out_and_are_in_mebibytes() -> None:
    def point(volume: int) -> memory.Point:
        v = volume / 1e6
        stages = {"encode": 100 + 9 * v, "transformer": 100 + 3 * v, "decode": 100 + 2 * v, "between": 100 + v}
        return memory.Point(volume, 100 + 9 * v, 9 * v, stages)

    points = [point(volume) for volume in (100_000, 200_000, 400_000)]
    found = {name: figure.value for name, figure in memory.figures(points, PUBLISHED.memory).items()}
    assert set(found) == set(memory.measures_of(PUBLISHED.memory))
    for what, slope in (("above weights", 3), ("sampling", 3), ("decode", 2)):
        assert found[f"k {what}"] == pytest.approx(slope * 1e6 / 2**20)
        assert found[f"b {what}"] == pytest.approx(0, abs=1e-6)
    assert memory.figures(points)["k peak"].value == pytest.approx(9)


def test_a_line_is_found_again() -> None:
    points = [
        memory.Point(volume, 3.5 * volume / 1e6 + 100, 3.5 * volume / 1e6) for volume in (100_000, 200_000, 400_000)
    ]
    assert memory.line(points, "peak_mb") == pytest.approx((3.5, 100))
    assert memory.line(points, "above_mb") == pytest.approx((3.5, 0), abs=1e-9)


def test_stages_are_found_from_outside() -> None:
    method = open_method("flowframes", {"size": [64, 96], "frames": 9, "steps": 3})
    with timed_stages(method.networks, CPU) as stages:
        method.run(torch.zeros(2, 9, 3, 64, 96), SeededNoise([0, 1]))
    assert {name: len(calls) for name, calls in stages.seconds.items()} == {"encode": 2, "transformer": 3, "decode": 2}
    with timed_stages(method.networks, CPU) as again:
        pass
    assert not again.seconds


@pytest.fixture
def small(tmp_path: Path) -> BenchmarkConfig:
    cost = CostConfig(runs=1, warmup=0, profile="small", volumes=2)
    return BenchmarkConfig(suite="latency", out=str(tmp_path / "out"), cost=cost)


@pytest.mark.slow
def test_latency(small: BenchmarkConfig) -> None:
    results = benchmark(replace(small, methods={"flowframes_ltxv": {}, "causvid": {}}))
    assert results is not None
    by_label = {row.label: row for row in results.rows}
    assert by_label["causvid"].evaluations["guided_evals"] == 5
    assert by_label["causvid"].evaluations["forward_batch"] == 1
    assert by_label["flowframes_ltxv"].evaluations["forward_batch"] == 2  # guidance
    for row in results.rows:
        found = {name: figure.value for name, figure in row.figures.items()}
        assert found["encode"] + found["evaluations"] + found["decode"] <= found["seconds"]
        assert found["one evaluation"] * row.evaluations["forward_calls"] <= 3 * found["evaluations"]


@pytest.mark.slow
def test_memory(small: BenchmarkConfig) -> None:
    results = benchmark(replace(small, suite="memory", methods={"flowframes_wan": {}, "ltxv_condition": {}}))
    assert results is not None
    for row in results.rows:
        assert len(row.by_volume) == 2 and row.by_volume[0]["peak_mb"] > 0
        stages = {row.by_volume[1][f"{stage}_mb"] for stage in ("encode", "transformer", "decode", "between")}
        assert max(stages) == row.by_volume[1]["peak_mb"]
        assert row.published["k"] > 0 and "k above weights" in row.figures


@pytest.mark.slow
def test_the_protocol_follows_the_rows_conventions_unless_said(small: BenchmarkConfig) -> None:
    rows = {"flowframes_ltxv": {"conventions": "published"}}
    asked = replace(small, suite="memory", methods=rows)
    assert (asked.protocol, asked.resampling) == ("published", "vista")
    assert replace(asked, cost=replace(small.cost, protocol="paper")).protocol == "paper"
    assert (small.protocol, small.resampling) == ("paper", "area")
    results = benchmark(asked)
    assert results is not None and results.settings["protocol"] == "published"
    (row,) = results.rows
    assert row.spec["conventions"] == "published" and row.spec["frame_rate"] == 25.0
    assert "k decode" in row.figures and "k peak" not in row.figures


def test_rows_that_have_no_sizes_are_refused(small: BenchmarkConfig) -> None:
    with pytest.raises(InputError, match="methods.repeat_last: memory and latency know flowframes_ltxv"):
        benchmark(replace(small, methods={"repeat_last": {}}))
