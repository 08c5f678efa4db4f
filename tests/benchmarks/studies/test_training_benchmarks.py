"""The benchmarks of training, each at a size that takes a second: do they measure what they say?"""

import math
from pathlib import Path

import pytest
import torch

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.benchmarks.studies import cache_feeding, step_cost
from worldmodel.benchmarks.studies.cache_feeding import Fed, feed, forget, in_memory, rows_of, write_cache, write_videos
from worldmodel.training.latent_cache import LatentCache

LATENTS = (8, 2, 2, 3)  # of 9 frames of 32 x 48


def small_backbone():
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return tiny_backbone(vae.eval(), tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8).eval())


# --- cache_feeding --------------------------------------------------------------------------------------------------
def test_a_written_cache_is_a_real_one(tmp_path: Path) -> None:
    cache = LatentCache(write_cache(tmp_path / "cache", 7, LATENTS, shard_pairs=3).folder)
    assert len(cache) == 7 and len(list(cache.folder.glob("shard-*"))) == 3
    shapes = {"mean": (2, *LATENTS), "std": LATENTS, "noise": LATENTS}
    assert {name: tuple(tensor.shape) for name, tensor in cache[6].tensors().items()} == shapes
    assert cache[6].frame_rate == 12.0
    assert write_cache(tmp_path / "without", 2, LATENTS, inverted=False)[0].noise is None


@pytest.mark.parametrize("workers", [0, 2])
def test_feeding_counts_pairs_and_time(tmp_path: Path, workers: int) -> None:
    fed = feed(write_cache(tmp_path / "cache", 8, LATENTS), batch_size=2, steps=6, workers=workers)
    assert fed.pairs == 12
    assert fed.seconds > 0 and fed.cpu_seconds > 0


def test_every_batch_of_an_epoch_is_read(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", 8, LATENTS)
    read = [batch.latents.mean for batch in cache_feeding.batches(cache, 2, 4, 0, seed=1)]
    everything = torch.stack([cache[number].mean for number in range(8)])
    assert torch.equal(
        torch.cat(read).sum(dim=(1, 2, 3, 4, 5)).sort()[0], everything.sum(dim=(1, 2, 3, 4, 5)).sort()[0]
    )
    assert not torch.equal(torch.cat(read), everything)


def test_what_was_just_written_is_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(2**22))
    assert in_memory([file]) == 1
    assert 0 <= forget([file]) <= 1  # a file system without a disk keeps it


def test_videos_are_read_and_encoded_to_the_same_latents_as_the_cache_has(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cache_feeding, "SOURCE", (72, 128))
    monkeypatch.setattr(cache_feeding, "VIDEOS", 1)
    monkeypatch.setattr(cache_feeding, "VIDEO_FRAMES", 40)
    videos = write_videos(tmp_path)
    assert [len(pairs) for pairs in videos.values()] == [1, 1]
    frames = videos["groups of 30"][0].both_chunks()
    assert frames.shape == (2, 3, 17, 256, 384)
    latents = cache_feeding.small_encoder()(frames[None], [videos["groups of 30"][0].frame_rate])
    assert latents.mean.shape == (1, 2, *cache_feeding.LATENTS)
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
    assert [name for name, way in ways.items() if next(way.read).latents.noise is not None] == [step_cost.ALGORITHM_1]
    for name, mixed in ((step_cost.ALGORITHM_1, True), (step_cost.ALGORITHM_3, False)):
        means = next(iter(step_cost.batches(LatentCache(tmp_path / str(mixed)), 8, 9, 0, 0))).latents.mean.float()
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
