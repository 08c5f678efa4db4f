"""The benchmarks of training, each at a size that takes a second: do they measure what they say?"""

import argparse
import math
from pathlib import Path

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.benchmarks import cache_feeding, inversion_round_trip, step_cost, training_throughput
from worldmodel.benchmarks.cache_feeding import Fed, feed, forget, in_memory, rows_of, write_cache, write_films
from worldmodel.errors import InputError
from worldmodel.training.latent_cache import LatentCache

LATENTS = (8, 2, 2, 3)  # of 9 frames of 32 x 48
X = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
CPU = torch.device("cpu")


def small_backbone():
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return tiny_backbone(vae.eval(), tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8).eval())


def swirl(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
    """dx/dsigma = 2 sigma x, hence x(1) = e x(0)."""
    return 2 * sigma_B.double()[:, None] * x


# --- cache_feeding --------------------------------------------------------------------------------------------------
def test_a_written_cache_is_a_real_one(tmp_path: Path) -> None:
    cache = LatentCache(write_cache(tmp_path / "cache", 7, LATENTS, shard_pairs=3).folder)
    assert len(cache) == 7 and len(list(cache.folder.glob("shard-*"))) == 3
    assert {name: tuple(tensor.shape) for name, tensor in cache[6].items()} == {
        "mean": (2, *LATENTS), "std": LATENTS, "noise": LATENTS, "frame_rate": (),
    }  # fmt: skip
    assert "noise" not in write_cache(tmp_path / "without", 2, LATENTS, inverted=False)[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_feeding_counts_pairs_and_time(tmp_path: Path, workers: int) -> None:
    fed = feed(write_cache(tmp_path / "cache", 8, LATENTS), batch_size=2, steps=6, workers=workers)
    assert fed.pairs == 12
    assert fed.seconds > 0 and fed.cpu_seconds > 0


def test_every_batch_of_an_epoch_is_read(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", 8, LATENTS)
    read = [batch["mean"] for batch in cache_feeding.batches(cache, 2, 4, 0, seed=1)]
    everything = torch.stack([cache[number]["mean"] for number in range(8)])
    assert torch.equal(
        torch.cat(read).sum(dim=(1, 2, 3, 4, 5)).sort()[0], everything.sum(dim=(1, 2, 3, 4, 5)).sort()[0]
    )
    assert not torch.equal(torch.cat(read), everything)


def test_what_was_just_written_is_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(2**22))
    assert in_memory([file]) == 1
    assert 0 <= forget([file]) <= 1  # a file system without a disk keeps it


def test_films_are_read_and_encoded_to_the_same_latents_as_the_cache_has(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cache_feeding, "SOURCE", (72, 128))
    monkeypatch.setattr(cache_feeding, "FILMS", 1)
    monkeypatch.setattr(cache_feeding, "FILM_FRAMES", 40)
    films = write_films(tmp_path)
    assert [len(pairs) for pairs in films.values()] == [1, 1]
    sample = films["groups of 30"][0]
    assert sample["frames"].shape == (2, 3, 17, 256, 384)
    latents = cache_feeding.small_encoder()(sample["frames"][None], [sample["frame_rate"]])
    assert latents["mean"].shape == (1, 2, *cache_feeding.LATENTS)
    assert math.prod(cache_feeding.LATENTS[1:]) == cache_feeding.TOKENS


def test_ratios_are_those_of_the_measured_rates() -> None:
    found = {
        "cache in memory": [Fed(100, 1.0, 2.0), Fed(100, 2.0, 2.0), Fed(100, 4.0, 2.0)],
        "video": [Fed(1, 2.0, 4.0)],
    }
    cached, video = rows_of(found)
    assert cached["tokens_per_s"] == 288 * 50 and video["tokens_per_s"] == 144
    assert cached["times"] == {"video": {"tokens_per_s": 100.0, "tokens_per_cpu_s": 200.0}}
    assert "met by every" in cache_feeding.text_of([cached, video], 10, [0.0], 1, 8)
    cached["times"]["video"]["tokens_per_s"] = 99.0
    assert "missed by cache in memory against video" in cache_feeding.text_of([cached, video], 10, [0.0], 1, 8)


# --- step_cost ------------------------------------------------------------------------------------------------------
def test_steps_train_and_are_timed_by_turns(tmp_path: Path) -> None:
    backbone = small_backbone()
    before = backbone.transformer.proj_in.weight.clone()
    ways = step_cost.turns(backbone, tmp_path, (32, 48), batch_size=2, precision="no")
    order: list[str] = []
    found = step_cost.measure({name: lambda n=name: (order.append(n), ways[n].step()) for name in ways}, rounds=3)
    assert not torch.equal(backbone.transformer.proj_in.weight, before)
    names = list(step_cost.OBJECTIVES)
    assert order == [*names[::-1], *names, *names[::-1], *names, *names[::-1]]
    assert all(len(taken["cpu"]) == 3 and min(taken["cpu"]) > 0 for taken in found.values())


def test_only_algorithm_1_reads_the_inverted_chunks_and_mixes_them(tmp_path: Path) -> None:
    ways = step_cost.turns(small_backbone(), tmp_path, (32, 48), batch_size=8, precision="no")
    assert [name for name, way in ways.items() if "noise" in next(way.read)] == [step_cost.ALGORITHM_1]
    for name, mixed in ((step_cost.ALGORITHM_1, True), (step_cost.ALGORITHM_3, False)):
        means = next(iter(step_cost.batches(LatentCache(tmp_path / str(mixed)), 8, 9, 0, 0)))["mean"].float()
        ways[name].read = iter(step_cost.batches(LatentCache(tmp_path / str(mixed)), 8, 9, 0, 0))
        source, target = ways[name].prepare()
        assert torch.equal(target, means[:, 1])
        assert torch.equal(source, means[:, 0]) == (not mixed)


def test_the_ratio_is_the_median_over_rounds() -> None:
    one, three = step_cost.ALGORITHM_1, step_cost.ALGORITHM_3
    seconds = {three: [1.0, 2.0, 1.0], one: [1.02, 2.08, 3.0]}
    found = {name: {"cpu": taken, "clock": taken} for name, taken in seconds.items()}
    rows = {row["objective"]: row for row in step_cost.rows_of(found)}
    assert rows[three]["ratio"] == 1 and rows[one]["ratio"] == pytest.approx(1.04)
    result = {"rows": list(rows.values()), "prepare_cpu_s": {one: 0.02, three: 0.01}}
    text = step_cost.text_of(result | dict.fromkeys(("batch_size", "tokens", "precision", "rounds"), 1))
    assert "1.040, met" in text and "20.00 and 10.00 CPU-ms, so +1.00% of a step" in text


# --- inversion_round_trip -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", ["explicit_midpoint", "heun", "implicit_midpoint"])
@pytest.mark.parametrize("shift", [1.0, 0.5])
def test_every_rule_is_of_second_order(rule: str, shift: float) -> None:
    follow, step = inversion_round_trip.follow, getattr(inversion_round_trip, rule)
    errors = [
        float((follow(step, swirl, X, inversion_round_trip.grid(steps, shift)) - math.e * X).norm())
        for steps in (32, 64, 128)
    ]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert 3.4 < coarse / fine < 4.6


def test_a_round_trip_counts_two_evaluations_a_step_and_gets_better() -> None:
    trips = inversion_round_trip.sweep(swirl, X, (4, 8, 16))
    assert [trip["evaluations_per_step"] for trip in trips] == [2, 2, 2]
    errors = [trip["error"] for trip in trips]
    assert errors[0] > 6 * errors[1] > 36 * errors[2] > 0  # third order: what a step errs there it mends back


def test_our_own_rule_is_the_librarys() -> None:
    sigmas = inversion_round_trip.grid(8)
    error, evaluations = inversion_round_trip.round_trip_by(inversion_round_trip.explicit_midpoint, swirl, X, sigmas)
    assert evaluations == 16
    assert error == pytest.approx(inversion_round_trip.round_trip(swirl, X, 8)["error"], rel=1e-4)


def test_grids_begin_and_end_where_they_say() -> None:
    assert inversion_round_trip.grid(4, 3.0, 0.02)[::4] == [0.02, 1.0]
    assert inversion_round_trip.grid(2, 3.0)[1] > 0.5 > inversion_round_trip.grid(2, 1 / 3)[1]


def test_smoothing_and_freezing_change_the_field_along_sigma_alone() -> None:
    backbone = small_backbone()
    velocity, x = inversion_round_trip.velocity_of(backbone, 12.0), torch.randn(1, *LATENTS)
    here, there = torch.tensor([0.5]), torch.tensor([0.503])
    change = inversion_round_trip.relative(velocity(x, there), velocity(x, here))
    with inversion_round_trip.smoothed(backbone.transformer, 0.03):
        calmer = inversion_round_trip.relative(velocity(x, there), velocity(x, here))
    assert 0 < calmer < change / 2
    still = inversion_round_trip.frozen(velocity, 0.5)
    assert torch.equal(still(x, there), velocity(x, here))
    assert inversion_round_trip.relative(velocity(x, there), velocity(x, here)) == change  # as it was before


def test_growth_finds_the_steepest_direction() -> None:
    def linear(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
        return x * torch.tensor([3.0, 0.5], dtype=x.dtype)

    assert inversion_round_trip.growth(linear, X, linear(X, X), 0.5, rounds=20) == pytest.approx(3.0, rel=1e-3)


def test_all_of_it_on_a_small_network() -> None:
    chosen = argparse.Namespace(steps=(1, 2), few=(5, 10), finer=(1, 2))
    found = inversion_round_trip.measure(small_backbone(), torch.randn(2, *LATENTS), 12.0, chosen)
    text = inversion_round_trip.text_of(found, 2, LATENTS)
    assert "Evaluations a step: 2." in text
    assert {way["evaluations"] / way["steps"] for way in found["ways"]} == {2, 4}
    assert all(math.isfinite(trip["error"]) for trip in found["trained"])


# --- training_throughput --------------------------------------------------------------------------------------------
def test_probing_stops_where_it_no_longer_fits() -> None:
    tried: list[int] = []

    def fit(batch: int) -> bool:
        tried.append(batch)
        return batch <= 5

    assert training_throughput.largest_batch(fit, 1, 64) == 4
    assert tried == [1, 2, 4, 8]
    assert training_throughput.largest_batch(fit, 1, 2) == 2
    assert training_throughput.largest_batch(fit, 8, 64) == 0


def test_running_out_of_memory_is_an_answer() -> None:
    def make(batch: int):
        def step() -> None:
            if batch > 2:
                raise torch.OutOfMemoryError

        return step

    assert training_throughput.fits(make, 2, CPU) and not training_throughput.fits(make, 4, CPU)


def test_flop_by_formula_are_what_torch_counts() -> None:
    backbone = small_backbone()
    with training_throughput.fastest_attention(CPU):
        work = training_throughput.work_of(backbone, LATENTS)
    tokens, prompt, width, layers = 12, 1, 32, 2
    per_layer = (4 + 2 + 8) * width**2 * tokens + 2 * width**2 * prompt
    ends = 2 * 8 * width * tokens + (8 * width + width**2) * prompt + (256 * width + width**2 + 6 * width**2)
    attention = 4 * tokens * (tokens + prompt) * width * layers
    assert work.forward == 2 * (layers * per_layer + ends) + attention
    assert 0.9 < work.counted / work.step < 1.01  # nothing before the first layer needs a gradient


def test_the_real_sizes_are_refused_without_a_gpu() -> None:
    with pytest.raises(InputError, match="needs a CUDA device"):
        training_throughput.build("2b", CPU)


def test_every_published_network_can_be_built_and_fits_its_latents() -> None:
    for name, tokens, parameters in (("2b", 288, 1.92e9), ("1.3b", 1950, 1.42e9)):
        make, size = training_throughput.SIZES[name]
        with torch.device("meta"):
            backbone = make()
        assert backbone.geometry.tokens(training_throughput.FRAMES, *size) == tokens
        assert sum(one.numel() for one in backbone.transformer.parameters()) == pytest.approx(parameters, rel=0.02)


def test_rates_follow_from_the_measured_seconds(monkeypatch) -> None:
    monkeypatch.setattr(training_throughput, "FRAMES", 9)
    monkeypatch.setitem(training_throughput.SQUARE, "cpu", 64)
    backbone = small_backbone()
    with training_throughput.fastest_attention(CPU):
        found = training_throughput.measure(backbone, (32, 48), CPU, 0.0, False, 2)
    assert [row["batch"] for row in found["rows"]] == [2, 2, 2]
    for row in found["rows"]:
        assert row["tokens_per_s"] == pytest.approx(12 * 2 / row["step_s"])
        assert row["tflop_per_s"] == pytest.approx(found["step_tflop_per_sample"] * 2 / row["step_s"])
        assert row["of_ceiling"] == pytest.approx(row["tflop_per_s"] / max(found["ceilings_tflop_per_s"].values()))
    ratio = found["ratios"]["plain diffusers, forward and backward"]
    assert ratio == pytest.approx(
        max(row["samples_per_s"] for row in found["rows"][:2]) / found["rows"][2]["samples_per_s"]
    )
    found["skipped"] = training_throughput.skipped(CPU, False)
    text = training_throughput.text_of(found, "tiny", "a CPU")
    assert "No CUDA device" in text and "Goal" not in text
