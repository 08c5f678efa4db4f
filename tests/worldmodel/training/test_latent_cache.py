"""The latent cache: right numbers, whole after any interruption, refused when stale."""

import hashlib
import json
import pickle
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.datasets.pairs import LatentPair, PixelPair
from worldmodel.errors import InputError
from worldmodel.flow.inversion import midpoint
from worldmodel.training.chunks import Readable
from worldmodel.training.latent_cache import LatentCache, build_latent_cache, write_shards
from worldmodel.training.latents import LatentEncoder


@dataclass
class RandomPairs:
    """Pairs that follow from their number; reading pair `fails_at` raises, as a killed run stops."""

    count: int = 7
    identity: str = "random"
    fails_at: int = -1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> PixelPair:
        if number == self.fails_at:
            raise KeyboardInterrupt
        shape = (2, 3, 9, 32, 48)
        frames = torch.randint(256, shape, generator=torch.Generator().manual_seed(number)).to(torch.uint8)
        observed, future = frames.transpose(1, 2)[:, None]
        return PixelPair("random", ("front",), observed, future, np.zeros((1, 18)), 12.0 + number % 2)


def backbone(seed: int = 0):
    torch.manual_seed(seed)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return tiny_backbone(vae.eval(), tiny_transformer(8, layers=1, heads=2, head_dim=16, caption_channels=8).eval())


def build(folder: Path, pairs: RandomPairs | None = None, seed: int = 0, **settings: object) -> LatentCache:
    settings = {"shard_pairs": 3, "batch_size": 2} | settings
    encoder = LatentEncoder(backbone(seed), settings.pop("inversion_steps", 2), settings.pop("precision", "no"))
    return build_latent_cache(folder, RandomPairs() if pairs is None else pairs, encoder, **settings)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_holds_what_the_model_says(tmp_path: Path) -> None:
    cache, model = build(tmp_path / "cache"), backbone()
    assert len(cache) == 7
    assert [name for name in files(tmp_path / "cache") if name.startswith("shard")] == [
        f"shard-{number:05d}.safetensors" for number in range(3)
    ]
    for number in (0, 4, 6):
        both = RandomPairs()[number].both_chunks().float() / 127.5 - 1
        with torch.no_grad():
            observed, future = model.encode(both[:1]), model.encode(both[1:])
        sample = cache[number]
        expected = torch.stack([observed.mean_BCfhw[0], future.mean_BCfhw[0]])
        torch.testing.assert_close(sample.mean.float(), expected, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(sample.std.float(), observed.std_BCfhw[0], rtol=2e-3, atol=2e-3)
        assert sample.noise.shape == future.mean_BCfhw[0].shape
        assert sample.frame_rate == 12.0 + number % 2


def test_its_noise_flows_back_to_the_future_chunk(tmp_path: Path) -> None:
    sample, model = build(tmp_path / "cache", inversion_steps=25)[1], backbone()
    prompt, mask = model.empty_prompt()

    def velocity(x: torch.Tensor, sigma_B: torch.Tensor) -> torch.Tensor:
        return model.velocity(x, sigma_B, prompt, mask, 13.0)

    back = midpoint(velocity, sample.noise.float()[None], 1.0, 0.0, 25).x[0]
    future = sample.mean[1].float()
    assert (back - future).norm() / future.norm() < 5e-3  # float16 on disk


def test_without_inversion_there_is_no_noise(tmp_path: Path) -> None:
    cache = build(tmp_path / "cache", inversion_steps=0)
    assert sorted(cache[0].tensors()) == ["mean", "std"]
    assert cache.card.network == ""


@pytest.mark.parametrize("fails_at", [0, 2, 3, 5, 6])
def test_an_interrupted_build_goes_on_to_the_same_bytes(tmp_path: Path, fails_at: int) -> None:
    build(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "broken", RandomPairs(fails_at=fails_at))
    assert len(list((tmp_path / "broken").glob("shard-*.safetensors"))) == fails_at // 3
    with pytest.raises(InputError, match="shards are missing"):
        LatentCache(tmp_path / "broken")
    build(tmp_path / "broken")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    """A process of its own, killed again and again until one run ends by itself."""
    build(tmp_path / "whole", RandomPairs(20))
    for attempt in range(12):
        process = get_context("fork").Process(target=build, args=(tmp_path / "killed", RandomPairs(20)))
        process.start()
        process.join(0.1 * 1.7**attempt)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
    assert process.exitcode == 0 and attempt > 0
    kept = {name: content for name, content in files(tmp_path / "killed").items() if not name.startswith(".partial")}
    assert kept == files(tmp_path / "whole")


@dataclass
class SpoiltPairs(RandomPairs):
    """Pairs of which those in `bad` cannot be read."""

    bad: tuple[int, ...] = (2, 3, 5)

    def __getitem__(self, number: int) -> PixelPair:
        if number in self.bad:
            raise InputError(f"pair {number} is damaged")
        return super().__getitem__(number)


@pytest.mark.parametrize("shares", [1, 3])
def test_pairs_that_could_not_be_read_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, shares: int
) -> None:
    sound, spoilt = build(tmp_path / "sound", Readable(RandomPairs())), Readable(SpoiltPairs())
    assert caplog.text == ""
    encoder = LatentEncoder(backbone(), 2, "no")
    for which in range(shares):
        write_shards(tmp_path / "spoilt", spoilt, encoder, shard_pairs=3, batch_size=2, share=(which, shares))
    assert "3 of 7 pairs could not be read" in caplog.text
    cache = LatentCache(tmp_path / "spoilt")
    assert json.loads((tmp_path / "spoilt" / "card.json").read_text())["replaced"] == 3
    assert cache.card.replaced == 3
    assert cache.identity != sound.identity
    torch.testing.assert_close(cache[2].mean, sound[4].mean, rtol=2e-3, atol=2e-3)  # in a batch of another size
    caplog.clear()
    before = files(tmp_path / "spoilt")
    build(tmp_path / "spoilt", spoilt)  # finished: said again, nothing written
    assert "3 of 7 pairs could not be read" in caplog.text
    assert files(tmp_path / "spoilt") == before


def test_a_card_without_replaced_pairs_is_that_of_earlier_versions(tmp_path: Path) -> None:
    cache = build(tmp_path / "cache", Readable(RandomPairs()))
    card = json.loads((tmp_path / "cache" / "card.json").read_text())
    assert "replaced" not in card
    assert cache.identity == hashlib.sha256(json.dumps(card).encode()).hexdigest()


def test_the_count_survives_an_interruption(tmp_path: Path) -> None:
    class Stopped(SpoiltPairs):
        def __getitem__(self, number: int) -> PixelPair:
            if number == 6:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", Readable(Stopped()))
    assert build(tmp_path / "cache", Readable(SpoiltPairs())).card.replaced == 3
    (tmp_path / "cache" / "shard-00001.safetensors").unlink()  # that of pairs 3, 4, 5, which were mended
    assert build(tmp_path / "cache", Readable(SpoiltPairs(bad=(2,)))).card.replaced == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pairs": RandomPairs(identity="others")}, "pairs_identity"),
        ({"pairs": RandomPairs(6)}, "pairs"),
        ({"seed": 1}, "vae, network"),
        ({"inversion_steps": 3}, "inversion_steps"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_a_stale_cache_is_refused_and_kept(tmp_path: Path, change: dict, named: str) -> None:
    build(tmp_path / "cache")
    before = files(tmp_path / "cache")
    with pytest.raises(InputError, match=f"made with other {named};"):
        build(tmp_path / "cache", **change)
    assert files(tmp_path / "cache") == before


def test_a_finished_cache_is_only_opened(tmp_path: Path) -> None:
    build(tmp_path / "cache")
    again = build(tmp_path / "cache", RandomPairs(fails_at=0))
    assert len(again) == 7


def test_loaders_share_it(tmp_path: Path) -> None:
    cache = build(tmp_path / "cache")
    alone = torch.stack([cache[number].mean for number in range(7)])
    loaded = torch.cat([pairs.mean for pairs in DataLoader(cache, 3, num_workers=2, collate_fn=LatentPair.stack)])
    assert torch.equal(loaded, alone)
    assert torch.equal(pickle.loads(pickle.dumps(cache))[5].mean, alone[5])


def test_what_is_no_cache_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card\.json is absent"):
        LatentCache(tmp_path)
    with pytest.raises(InputError, match="no chunk pairs"):
        build(tmp_path / "cache", RandomPairs(0))
    build(tmp_path / "cache")
    (tmp_path / "cache" / "shard-00001.safetensors").unlink()
    with pytest.raises(InputError, match="1 of 3 shards are missing"):
        LatentCache(tmp_path / "cache")
    assert json.loads((tmp_path / "cache" / "card.json").read_text())["pairs"] == 7
