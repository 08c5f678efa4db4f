"""From a `DataConfig` to the samples of a run: of a nuScenes-format dataset or of videos, cached or read anew."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate import Accelerator

from worldmodel.datasets.frame_store import FrameStore, open_frame_store
from worldmodel.datasets.nuscenes import NuScenesIndex, chunk_pairs, open_index, scenes_of_split
from worldmodel.datasets.nuscenes.selection import default_cameras
from worldmodel.errors import InputError
from worldmodel.training.chunks import Captioned, ChunkCrops, ClipPairs, Pairs, Readable, StorePairs
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.latent_cache import LatentCache, write_shards
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.order import SampleOrder

if TYPE_CHECKING:
    from worldmodel.datasets.openvid import Collection

logger = logging.getLogger(__name__)
LEAST_STD = 1e-3  # of a normalised latent


@dataclass(frozen=True)
class RunData:
    """What a run reads, and in which order.

    Attributes:
        groups: the datasets trained on, one for each length of chunk.
        held_out: pairs for validation; None for no validation.
        order: which samples make which step.
        identity: of the samples and of the pretrained weights; a resumed run must share it.
    """

    groups: list[Any]
    held_out: Pairs | None
    order: SampleOrder
    identity: dict[str, list[str]]


def open_data(config: TrainConfig, encoder: LatentEncoder, accelerator: Accelerator) -> RunData:
    """The data of a run; all processes call it, and build what is missing of a latent cache together."""
    # Weights that are drawn anew follow from the seed. The others are hashed before anything is trained.
    weights = [] if config.pretrained is None else encoder.hash_once()
    held_out = validation_pairs(config) if config.validation.every else None
    groups = samples(config, encoder, accelerator)
    a_step = config.batch_size * config.accumulate * accelerator.num_processes
    order = SampleOrder([len(group) for group in groups], a_step, config.seed)
    identity = {"samples": [group.identity for group in groups]}
    if weights:
        identity["pretrained weights"] = weights
    return RunData(groups, held_out, order, identity)


def samples(config: TrainConfig, encoder: LatentEncoder, accelerator: Accelerator) -> list[Any]:
    """What the run trains on, one dataset for each length of chunk.

    With several processes, each builds its share of a latent cache; nothing else is done twice.
    """
    data, store = config.data, store_folder(config)
    if data.latents is not None:
        return [_given_cache(config, encoder)]
    if config.objective == "autoencoder":
        with accelerator.main_process_first():
            frames = _frame_store(data, store)
        return [ChunkCrops(frames, data.frames[0], data.stride, config.autoencoder.crop)]
    with accelerator.main_process_first():
        lengths = open_lengths(data, data.frames, store, config.captioned)
    return _cached(config, lengths, encoder, accelerator) if data.latent_cache else lengths


def _cached(
    config: TrainConfig, lengths: list[Pairs], encoder: LatentEncoder, accelerator: Accelerator
) -> list[LatentCache]:
    """The latent cache of each length, built together with the other processes where it is not there yet."""
    if encoder.captions is not None:
        encoder.captions.hash_once()
    share = (accelerator.process_index, accelerator.num_processes)
    folders = [write_cache(config, pairs, encoder, share) for pairs in lengths]
    if encoder.captions is not None:
        encoder.captions.rest()
    accelerator.wait_for_everyone()
    caches = [LatentCache(folder) for folder in folders]
    if encoder.inversion_steps and float(caches[0][0].std.float().mean()) < LEAST_STD:
        logger.warning("the VAE's posterior is so narrow that target inversion changes nothing: rho=0 costs less")
    return caches


def _given_cache(config: TrainConfig, encoder: LatentEncoder) -> LatentCache:
    """The cache `data.latents`; `InputError` where another model made it, or it lacks what the run needs."""
    assert config.data.latents is not None
    cache = LatentCache(config.data.latents)
    card = cache.card
    made_by: dict[str, tuple[str, str]] = {"conventions": (card.conventions, config.conventions)}
    made_by["pretrained VAE"] = (card.vae, encoder.vae_sha256)
    if encoder.inversion_steps:
        made_by["inversion_steps"] = (str(card.inversion_steps), str(encoder.inversion_steps))
        made_by["pretrained transformer"] = (card.network, encoder.network_sha256)
    if encoder.captions is not None and encoder.captions.reads:
        made_by["text encoder"] = (card.captions, encoder.captions.sha256)
        encoder.captions.rest()
    for name, (there, wanted) in made_by.items():
        if there != wanted:
            raise InputError(
                f"{cache.folder}: made with another {name}, {there[:12]} not {wanted[:12]}; build it again"
            )
    return cache


def store_folder(config: TrainConfig) -> Path:
    """Where frames, latents and cuts of this run are kept: beside its folder, whatever dots are in that one's name."""
    out = Path(config.out)
    return Path(config.data.store) if config.data.store else out.with_name(f"{out.name}.cache")


def open_pairs(data: DataConfig, frames: int, store: Path, captioned: bool = False) -> Pairs:
    """All chunk pairs of `frames` + `frames` frames, with their captions where that is said."""
    return open_lengths(data, (frames,), store, captioned)[0]


def open_lengths(data: DataConfig, lengths: Sequence[int], store: Path, captioned: bool = False) -> list[Pairs]:
    """`open_pairs` of every length; the videos, or the frame store, are opened once."""
    opened: Sequence[Pairs]
    if data.videos is not None:
        videos = _collection(data, 2 * min(lengths), store)
        opened = [_video_pairs(data, videos, length) for length in lengths]
    elif data.decode_once:
        frames = _frame_store(data, store)
        opened = [StorePairs(frames, length, data.stride) for length in lengths]
    else:
        opened = [_scene_pairs(data, length) for length in lengths]
    if captioned:
        opened = [Captioned(pairs, pairs.captions if isinstance(pairs, ClipPairs) else None) for pairs in opened]
    return [Readable(pairs) if data.skip_bad else pairs for pairs in opened]


def validation_pairs(config: TrainConfig) -> Pairs:
    """Held-out pairs of the first length, without overlap, read anew each time."""
    chosen, frames = config.validation, config.data.frames[0]
    if config.data.root is None and chosen.videos is None:
        raise InputError("validation.videos: give the list or folder of held-out videos, or validation.every=0")
    root = config.data.root if chosen.videos is None else None
    held_out = replace(
        config.data, root=root, split=chosen.split, videos=chosen.videos, latents=None, decode_once=False,
        stride=2 * frames,
    )  # fmt: skip
    return open_pairs(held_out, frames, store_folder(config), config.captioned)


def write_cache(
    config: TrainConfig,
    pairs: Pairs,
    encoder: LatentEncoder,
    share: tuple[int, int] = (0, 1),
) -> Path:
    """Write this process' share of the latent cache of `pairs` that fits this run; return its folder."""
    name = f"latents-{pairs.identity[:12]}-{encoder.vae_sha256[:12]}-{config.precision}"
    if encoder.inversion_steps:
        name += f"-inverted{encoder.inversion_steps}-{encoder.network_sha256[:12]}"
    if config.conventions != "paper":
        name += f"-{config.conventions}"
    if encoder.captions is not None:
        name += f"-captions-{encoder.captions.sha256[:12]}"
    folder = store_folder(config) / name
    write_shards(folder, pairs, encoder, workers=config.data.workers, share=share)
    return folder


def _frame_store(data: DataConfig, store: Path) -> FrameStore:
    assert data.root is not None
    index, scenes = _scenes(data)
    shortest = 2 * min(data.frames)
    return open_frame_store(index, store, scenes, data.cameras, data.size, shortest, data.workers)


def _scenes(data: DataConfig) -> tuple[NuScenesIndex, list[str]]:
    """The index and those scenes of the split that it holds."""
    assert data.root is not None
    index = open_index(data.root, data.version)
    here = set(index.scene_names)
    return index, [scene for scene in scenes_of_split(index.root, data.version, data.split) if scene in here]


def _scene_pairs(data: DataConfig, frames: int) -> ClipPairs:
    index, scenes = _scenes(data)
    sequences = [
        chunk_pairs(
            index, scenes=scenes, cameras=[camera], observed_frames=frames, future_frames=frames,
            stride=data.stride, size=data.size,
        )
        for camera in (data.cameras if data.cameras is not None else default_cameras(index))
    ]  # fmt: skip
    rows = np.unique(np.concatenate([sequence.frame_rows().ravel() for sequence in sequences]))
    cut = [list(data.size), frames, data.stride, *([*sequence.cameras, len(sequence)] for sequence in sequences)]
    names = [index.text("sample_data", "filename", row) for row in rows.tolist()]
    return ClipPairs(sequences, _identity(cut, [Path(index.root) / name for name in names]))


def _collection(data: DataConfig, shortest: int, store: Path) -> "Collection":
    from worldmodel.datasets.openvid import VideoFiles, open_collection, read_list  # needs PyAV

    assert data.videos is not None
    given = Path(data.videos)
    folders = data.video_folders or ((data.videos,) if given.is_dir() else (str(given.parent),))
    files = VideoFiles(folders, data.video_archives, store / "videos" if data.video_archives else None)
    return open_collection(
        read_list(given), files, shortest, store / "cuts", data.workers, data.most_videos, data.video_reader
    )


def _video_pairs(data: DataConfig, videos: "Collection", frames: int) -> ClipPairs:
    pairs = videos.pairs(frames, frames, data.stride, data.size)
    logger.info("%s", pairs.report)
    cut = [list(data.size), frames, data.stride, [[place.video, place.start] for place in pairs.places]]
    cut += [] if data.video_reader == "pyav" else [data.video_reader]
    return ClipPairs([pairs], _identity(cut, [source.path for source in pairs.sources]), pairs.caption)


def _identity(settings: list[Any], files: list[Path]) -> str:
    """By settings and the files' names and sizes: reading terabytes to hash them would take days."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for file in files:
        size = file.stat().st_size if file.is_file() else None
        digest.update(f"{file.parent.name}/{file.name} {size}\n".encode())
    return digest.hexdigest()
