"""Training throughput at a size that takes a second: are FLOP, rates and batch sizes what they say?"""

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.benchmarks.studies.training_throughput import flops, rows
from worldmodel.benchmarks.studies.training_throughput.networks import SIZES, build
from worldmodel.benchmarks.studies.training_throughput.report import skipped, text_of
from worldmodel.benchmarks.studies.training_throughput.timing import fits, largest_batch
from worldmodel.errors import InputError
from worldmodel.training.attention import fastest_attention

LATENTS = (8, 2, 2, 3)  # of 9 frames of 32 x 48
CPU = torch.device("cpu")


def small_backbone():
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return tiny_backbone(vae.eval(), tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8).eval())


def test_probing_stops_where_it_no_longer_fits() -> None:
    tried: list[int] = []

    def fit(batch: int) -> bool:
        tried.append(batch)
        return batch <= 5

    assert largest_batch(fit, 1, 64) == 4
    assert tried == [1, 2, 4, 8]
    assert largest_batch(fit, 1, 2) == 2
    assert largest_batch(fit, 8, 64) == 0


def test_running_out_of_memory_is_an_answer() -> None:
    def make(batch: int):
        def step() -> None:
            if batch > 2:
                raise torch.OutOfMemoryError

        return step

    assert fits(make, 2, CPU) and not fits(make, 4, CPU)


def test_flop_by_formula_are_what_torch_counts() -> None:
    backbone = small_backbone()
    with fastest_attention(CPU):
        sample = flops.flops_of(backbone, LATENTS)
    tokens, prompt, width, layers = 12, 1, 32, 2
    per_layer = (4 + 2 + 8) * width**2 * tokens + 2 * width**2 * prompt
    ends = 2 * 8 * width * tokens + (8 * width + width**2) * prompt + (256 * width + width**2 + 6 * width**2)
    attention = 4 * tokens * (tokens + prompt) * width * layers
    assert sample.forward == 2 * (layers * per_layer + ends) + attention
    assert 0.9 < sample.counted / sample.step < 1.01  # nothing before the first layer needs a gradient


def test_the_real_sizes_are_refused_without_a_gpu() -> None:
    with pytest.raises(InputError, match="needs a CUDA device"):
        build("2b", CPU)


def test_every_published_network_can_be_built_and_fits_its_latents() -> None:
    for name, tokens, parameters in (("2b", 288, 1.92e9), ("1.3b", 1950, 1.42e9)):
        backbone = build(name, torch.device("meta"))
        assert backbone.geometry.tokens(rows.FRAMES, *SIZES[name][1]) == tokens
        assert sum(one.numel() for one in backbone.transformer.parameters()) == pytest.approx(parameters, rel=0.02)


def test_rates_follow_from_the_measured_seconds(monkeypatch) -> None:
    monkeypatch.setattr(rows, "FRAMES", 9)
    monkeypatch.setitem(flops.SQUARE, "cpu", 64)
    backbone = small_backbone()
    with fastest_attention(CPU):
        found = rows.measure(backbone, (32, 48), CPU, 0.0, False, 2)
    assert [row["batch"] for row in found["rows"]] == [2, 2, 2]
    for row in found["rows"]:
        assert row["tokens_per_s"] == pytest.approx(12 * 2 / row["step_s"])
        assert row["tflop_per_s"] == pytest.approx(found["step_tflop_per_sample"] * 2 / row["step_s"])
        assert row["of_ceiling"] == pytest.approx(row["tflop_per_s"] / max(found["ceilings_tflop_per_s"].values()))
    ratio = found["ratios"]["plain diffusers, forward and backward"]
    assert ratio == pytest.approx(
        max(row["samples_per_s"] for row in found["rows"][:2]) / found["rows"][2]["samples_per_s"]
    )
    found["skipped"] = skipped(CPU, False)
    text = text_of(found, "tiny", "a CPU")
    assert "No CUDA device" in text and "Goal" not in text
