"""Tokens a second that training is fed with: from a latent cache on disk, and straight from video, side by side.

    python -m worldmodel.benchmarks.studies.cache_feeding [--pairs 2048] [--folder FOLDER] [--keep]

Both go through the reading of `worldmodel.training.loop`: `Pool`, `ShareOfOrder` and `collate` in a DataLoader. A pair
is 288 tokens, those that the network sees of 17 frames of 256 x 384 (LTX latents of 128 x 3 x 8 x 12).

Cache: random numbers in shards of the real format, with inversion, several hundred megabytes, read in random order;
once as the system has it in memory after writing, once after the system was told to forget it. Video: 1280 x 720 H.264
made here (x264, medium, crf 23), in groups of 250 pictures (x264's own setting) and of 30, read by the OpenVid
adapter; once the frames alone, once encoded in the main process as the loop does, by a small VAE of LTX's geometry
with random weights in float32. A real VAE would be far slower, and inversion, which training straight from video needs
for Algorithm 1, is 50 evaluations of the network more: neither is counted.

Times include starting the worker processes. CPU time is that of all processes.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader

from tests.support.drawn_videos import encode_video, moving_pictures
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.openvid import VideoFiles, open_collection, read_list
from worldmodel.datasets.timing import NOMINAL_RATE
from worldmodel.files import save_tensors
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of
from worldmodel.training.chunks import ClipPairs, Pool, collate
from worldmodel.training.latent_cache import CARD, CacheCard, LatentCache, shard_file
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.order import SampleOrder, ShareOfOrder

FRAMES, SIZE, SOURCE = 17, (256, 384), (720, 1280)
LATENTS = (128, 3, 8, 12)
TOKENS = 3 * 8 * 12
GROUPS = (250, 30)
VIDEOS, VIDEO_FRAMES, STRIDE = 3, 150, 14
WORKERS = 2
GOAL = 100


# --- what is read ---------------------------------------------------------------------------------------------------
def write_cache(
    folder: Path,
    pairs: int,
    latents: tuple[int, int, int, int] = LATENTS,
    inverted: bool = True,
    shard_pairs: int = 256,
) -> LatentCache:
    """A latent cache of random numbers in the real format; `latents` is C, f, h, w of a chunk."""
    folder.mkdir(parents=True)
    card = CacheCard("random", pairs, "none", "none" * inverted, 25 * inverted, "bf16", shard_pairs)
    for number in range(card.shards):
        torch.manual_seed(number)
        rows = min(shard_pairs, pairs - number * shard_pairs)
        shard = {"mean": torch.randn(rows, 2, *latents).half(), "std": torch.rand(rows, *latents).half()}
        if inverted:
            shard["noise"] = torch.randn(rows, *latents).half()
        save_tensors(shard | {"frame_rate": torch.full((rows,), NOMINAL_RATE)}, shard_file(folder, number))
    (folder / CARD).write_text(json.dumps(asdict(card)))
    return LatentCache(folder)


def write_videos(folder: Path) -> dict[str, ClipPairs]:
    """The same videos in groups of 250 and of 30 pictures; the chunk pairs that the OpenVid adapter finds in them."""
    pairs = {}
    for group in GROUPS:
        (folder / str(group)).mkdir(parents=True)
    for number in range(VIDEOS):
        pictures = list(moving_pictures(VIDEO_FRAMES, *SOURCE, seed=number))
        for group in GROUPS:
            options = {"g": str(group), "preset": "medium", "crf": "23", "x264-params": "scenecut=0"}
            encode_video(folder / str(group) / f"{number}.mp4", pictures, options)
    for group in GROUPS:
        place = folder / str(group)
        videos = open_collection(read_list(place), VideoFiles([place]), 2 * FRAMES, folder / "cuts")
        pairs[f"groups of {group}"] = ClipPairs([videos.pairs(FRAMES, FRAMES, STRIDE, SIZE)], str(place))
    return pairs


def small_encoder() -> LatentEncoder:
    """A VAE of LTX's geometry, 16 channels wide at its finest level, random weights; nothing is inverted."""
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=16, latent_channels=LATENTS[0], spatial=32, temporal=8)
    network = tiny_transformer(LATENTS[0], layers=1, heads=1, head_dim=16)
    return LatentEncoder(tiny_backbone(vae.eval(), network), 0, "no")


def forget(files: Sequence[Path]) -> float:
    """Tell the system to drop the files from its memory; the share that it still has."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return in_memory(files)


def in_memory(files: Sequence[Path], every: int = 2**20) -> float:
    """Share of the files that the system has in memory, of one page in each `every` bytes; without reading any."""
    seen: list[bool] = []
    for file in files:
        with file.open("rb", buffering=0) as opened:
            for at in range(0, file.stat().st_size, every):
                try:
                    seen.append(os.preadv(opened.fileno(), [bytearray(1)], at, os.RWF_NOWAIT) == 1)
                except BlockingIOError:
                    seen.append(False)
    return sum(seen) / len(seen)


# --- reading --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fed:
    """What one pass took: pairs, seconds of the clock, seconds of CPU time over all processes."""

    pairs: int
    seconds: float
    cpu_seconds: float


def batches(samples: Any, batch_size: int, steps: int, workers: int, seed: int) -> DataLoader:
    """The batches of `steps` steps, as the training loop reads them on one process."""
    share = ShareOfOrder(SampleOrder([len(samples)], batch_size, seed), 0, steps, 1, 0, 1)
    return DataLoader(Pool([samples]), batch_sampler=share, num_workers=workers, collate_fn=collate)


def feed(
    samples: Any, batch_size: int, steps: int, workers: int, seed: int = 0, encoder: LatentEncoder | None = None
) -> Fed:
    """Read `steps` batches and, with an encoder, turn their frames into latents."""
    began, cpu = time.perf_counter(), cpu_seconds()
    for batch in batches(samples, batch_size, steps, workers, seed):
        if encoder is not None:
            encoder(batch.pixels, batch.frame_rates)
    return Fed(steps * batch_size, time.perf_counter() - began, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(
    cache: LatentCache, videos: dict[str, ClipPairs], batch_size: int, epochs: int, rounds: int
) -> tuple[dict[str, list[Fed]], list[float]]:
    """Every way of feeding in turn, `rounds` times; and how much of the cache was in memory at each cold start."""
    shards, encoder = sorted(cache.folder.glob("shard-*")), small_encoder()
    steps, forgotten = len(cache) // batch_size, []
    ways: dict[str, Callable[[int], Fed]] = {
        f"cache in memory, {WORKERS} workers": partial(feed, cache, batch_size, epochs * steps, WORKERS),
        "cache in memory, no workers": lambda seed: feed(
            LatentCache(cache.folder), batch_size, epochs * steps, 0, seed
        ),
        f"cache forgotten, {WORKERS} workers": partial(feed, cache, batch_size, steps, WORKERS),
    }
    for name, pairs in videos.items():
        decoded = partial(feed, pairs, batch_size, len(pairs) // batch_size, WORKERS)
        ways[f"video, {name}, decoded"] = decoded
        ways[f"video, {name}, decoded and encoded"] = partial(decoded, encoder=encoder)
    passes: dict[str, list[Fed]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            if "forgotten" in name:
                forgotten.append(forget(shards))
            passes[name].append(way(number))
    return passes, forgotten


# --- results --------------------------------------------------------------------------------------------------------
def rows_of(passes_of: dict[str, list[Fed]]) -> list[Record]:
    """Median rates of each way, and how many times those of each way from video they are, by clock and by CPU time."""
    rows: list[Record] = []
    for name, passes in passes_of.items():
        rates = sorted(TOKENS * fed.pairs / fed.seconds for fed in passes)
        rows.append(
            {
                "from": name,
                "pairs": passes[0].pairs,
                "tokens_per_s": median(rates),
                "least": rates[0],
                "most": rates[-1],
                "tokens_per_cpu_s": median(TOKENS * fed.pairs / fed.cpu_seconds for fed in passes),
            }
        )
    for row in rows:
        row["times"] = {
            beside["from"]: {key: row[key] / beside[key] for key in ("tokens_per_s", "tokens_per_cpu_s")}
            for beside in rows
            if beside["from"].startswith("video") and row["from"].startswith("cache")
        }
    return rows


def text_of(rows: list[Record], cache_bytes: int, forgotten: Sequence[float], rounds: int, batch: int) -> str:
    """The tables for people, and a line that says which ratios meet the goal."""
    rates = [
        {
            "fed from": row["from"],
            "tokens/s ↑": f"{row['tokens_per_s']:,.0f} ({row['least']:,.0f} to {row['most']:,.0f})",
            "tokens per CPU-s ↑": f"{row['tokens_per_cpu_s']:,.0f}",
            "pairs/s ↑": f"{row['tokens_per_s'] / TOKENS:,.1f}",
        }
        for row in rows
    ]
    ratios = [
        {"cache": row["from"]}
        | {
            source.removeprefix("video, "): f"{times['tokens_per_s']:.0f} ({times['tokens_per_cpu_s']:.0f})"
            for source, times in row["times"].items()
        }
        for row in rows
        if row["times"]
    ]
    head = (
        f"Batches of {batch} pairs, {TOKENS} tokens each; median of {rounds} interleaved rounds, least and most beside "
        f"it. Cache: {cache_bytes / 1e6:.0f} MB; before the forgotten passes at most {max(forgotten):.0%} of it was "
        "in the system's memory. Films are in the system's memory."
    )
    short = [
        f"{row['from']} against {source.removeprefix('video, ')}"
        for row in rows
        for source, times in row["times"].items()
        if times["tokens_per_s"] < GOAL
    ]
    verdict = f"Goal, at least {GOAL} times the tokens a second: "
    verdict += "met by every ratio in the table." if not short else f"missed by {'; '.join(short)}; met by all others."
    return (
        f"# Feeding from the latent cache and straight from video\n\n{head}\n\n{table_of(rates)}\n\nTimes the "
        f"tokens a second of video, by the clock (by CPU time):\n\n{table_of(ratios)}\n\n{verdict}"
    )


def compare(chosen: argparse.Namespace) -> None:
    """Write cache and videos, measure, print the tables and the JSON line."""
    about = machine.describe(("torch", "safetensors", "av"))
    with tempfile.TemporaryDirectory(prefix="cache-feeding-", dir=chosen.folder) as work:
        cache = write_cache(Path(work) / "cache", chosen.pairs)
        videos = write_videos(Path(work) / "films")
        passes, forgotten = measure(cache, videos, chosen.batch_size, chosen.epochs, chosen.rounds)
        cache_bytes = sum(file.stat().st_size for file in cache.folder.iterdir())
    rows = rows_of(passes)
    result = {
        "benchmark": "cache_feeding", "tokens_per_pair": TOKENS, "batch_size": chosen.batch_size, "pairs": chosen.pairs,
        "cache_bytes": cache_bytes, "in_memory_before_forgotten": forgotten, "rounds": chosen.rounds, "rows": rows,
    }  # fmt: skip
    text = text_of(rows, cache_bytes, forgotten, chosen.rounds, chosen.batch_size)
    publish("cache_feeding", text, result | {"machine": about}, chosen.keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2048, help="of the cache")
    parser.add_argument("--epochs", type=int, default=4, help="of the cache in one pass where it is in memory")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the cache and the films are written for a while")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
