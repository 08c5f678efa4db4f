"""The one training loop: accelerate, AdamW, a schedule, an average of the weights, a log and checkpoints."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import ModelMixin
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from tqdm import tqdm

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.datasets.frame_store import FrameStore, open_frame_store
from worldmodel.datasets.nuscenes import open_index, scenes_of_split
from worldmodel.errors import InputError
from worldmodel.pipeline import FlowFramesPipeline
from worldmodel.provenance import device_name, versions, weights_hash
from worldmodel.training import checkpoints
from worldmodel.training.chunks import ChunkCrops, StorePairs
from worldmodel.training.config import TinyModelConfig, TrainConfig
from worldmodel.training.latent_cache import LatentCache, build_latent_cache
from worldmodel.training.moments import set_latent_moments
from worldmodel.training.objectives import FlowFrames, IndependentChunks, NoiseToVideo, Objective, Reconstruction

logger = logging.getLogger(__name__)
LEAST_STD = 1e-3  # of a normalised latent


def train(config: TrainConfig) -> Path:
    """Run `config` to its end and return the folder of the trained pipeline.

    Loss and figures go to `log.jsonl` in the run's folder, checkpoints to `checkpoint`, the result to `pipeline`.
    Raises `InputError` for data, folders or settings that cannot be used.
    """
    accelerator = Accelerator(
        mixed_precision=config.precision, cpu=config.device == "cpu", step_scheduler_with_optimizer=False
    )
    set_seed(config.seed)
    pipeline = _pipeline(config)
    store = _frames(config)
    out = checkpoints.prepare_folder(config)
    pipeline.to(accelerator.device)
    objective = _objective(config, pipeline, store.frame_rate)
    dataset = _dataset(config, pipeline, store, accelerator.device)
    seconds = _loop(config, accelerator, pipeline, objective, dataset, out)
    if config.objective == "autoencoder":
        set_latent_moments(
            pipeline.backbone, ChunkCrops(store, config.data.frames, config.data.frames, config.data.size)
        )
    training = {
        "config": asdict(config),
        "frames_sha256": store.identity,
        "samples": len(dataset),
        "hours": round(seconds / 3600, 3),
        "device": device_name(accelerator.device),
        "versions": versions(),
    }
    return checkpoints.save_pipeline(out, pipeline, training)


def _pipeline(config: TrainConfig) -> FlowFramesPipeline:
    if config.pretrained is None:
        if config.objective != "autoencoder":
            raise InputError(f"objective={config.objective} needs a trained VAE: give pretrained=FOLDER")
        return _new_tiny(config.model, config.autoencoder.log_variance)
    if not (Path(config.pretrained) / "model_index.json").is_file():
        raise InputError(f"pretrained={config.pretrained} is no pipeline folder: it has no model_index.json")
    return FlowFramesPipeline.from_pretrained(config.pretrained, dtype=torch.float32)


def _new_tiny(sizes: TinyModelConfig, log_variance: float) -> FlowFramesPipeline:
    vae = tiny_vae(sizes.vae_channels, sizes.latent_channels, sizes.spatial, sizes.temporal)
    with torch.no_grad():
        vae.encoder.conv_out.conv.bias[-1] = log_variance
    transformer = tiny_transformer(
        sizes.latent_channels, sizes.layers, sizes.heads, sizes.head_dim, sizes.caption_channels
    )
    return FlowFramesPipeline.from_backbone(tiny_backbone(vae, transformer))


def _frames(config: TrainConfig) -> FrameStore:
    data = config.data
    index = open_index(data.root, data.version)
    here = set(index.scene_names)
    scenes = [scene for scene in scenes_of_split(index.root, data.version, data.split) if scene in here]
    folder = Path(data.store) if data.store else Path(config.out).with_suffix(".cache")
    return open_frame_store(index, folder, scenes, data.cameras, data.size, 2 * data.frames, data.workers)


def _objective(config: TrainConfig, pipeline: FlowFramesPipeline, frame_rate: float) -> Objective:
    if config.objective == "autoencoder":
        return Reconstruction(pipeline.backbone, config.autoencoder)
    settings = (pipeline.backbone, config.sigma, frame_rate, config.sigma_shift)
    if config.objective == "flowframes":
        return FlowFrames(*settings, rho=config.rho)
    return (NoiseToVideo if config.objective == "noise_to_video" else IndependentChunks)(*settings)


def _dataset(
    config: TrainConfig, pipeline: FlowFramesPipeline, store: FrameStore, device: torch.device
) -> LatentCache | ChunkCrops:
    data = config.data
    if config.objective == "autoencoder":
        return ChunkCrops(store, data.frames, data.stride, config.autoencoder.crop)
    return _latents(config, pipeline.backbone, store, device)


def _latents(config: TrainConfig, backbone: Backbone, store: FrameStore, device: torch.device) -> LatentCache:
    """The cache beside the frames that fits this run, built where it is not there yet."""
    data = config.data
    inversion_steps = config.inversion_steps if config.objective == "flowframes" and config.rho else 0
    key = f"{weights_hash(backbone.vae)[:12]}-{data.frames}x{data.stride}-{config.precision}"
    if inversion_steps:
        key += f"-inverted{inversion_steps}-{weights_hash(backbone.transformer)[:12]}"
    pairs = StorePairs(store, data.frames, data.stride)
    cache = build_latent_cache(
        store.folder / f"latents-{key}", pairs, backbone, inversion_steps, config.precision, device=device
    )
    if inversion_steps and float(cache[0]["std"].float().mean()) < LEAST_STD:
        logger.warning("the VAE's posterior is so narrow that target inversion changes nothing: rho=0 costs less")
    return cache


def _loop(
    config: TrainConfig,
    accelerator: Accelerator,
    pipeline: FlowFramesPipeline,
    objective: Objective,
    dataset: LatentCache | ChunkCrops,
    out: Path,
) -> float:
    """Train; return the seconds it took. The trained weights are the averaged ones where there is an average."""
    trained, began = objective.trained, time.perf_counter()
    optimizer, schedule = _optimizer(config, trained)
    if config.compile:
        _compile_blocks(pipeline.transformer)
    decay = config.optimizer.ema
    ema = EMAModel(trained.parameters(), decay=decay, use_ema_warmup=True) if decay else None
    loader = _loader(config, dataset)
    wrapped, optimizer, loader = accelerator.prepare(objective, optimizer, loader)
    bar = tqdm(total=config.steps, desc=config.objective, disable=not accelerator.is_main_process)
    with (out / "log.jsonl").open("w") as log:
        for step, batch in zip(range(1, config.steps + 1), _endless(loader), strict=False):
            with accelerator.autocast():
                losses = wrapped(batch)
            accelerator.backward(losses["loss"])
            norm = accelerator.clip_grad_norm_(trained.parameters(), config.optimizer.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if ema is not None:
                ema.step(trained.parameters())
            bar.update()
            if step % config.log_every == 0 or step == config.steps:
                figures = {name: value.item() for name, value in losses.items()} | {"grad_norm": float(norm)}
                bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()})
                place = {"step": step, "lr": schedule.get_last_lr()[0], "seconds": time.perf_counter() - began}
                log.write(json.dumps(place | figures) + "\n")
                log.flush()
            if step % config.save_every == 0 and accelerator.is_main_process:
                checkpoints.save_checkpoint(out, step, pipeline, trained, ema, optimizer.optimizer)
    bar.close()
    if ema is not None:
        ema.copy_to(trained.parameters())
    return time.perf_counter() - began


def _optimizer(config: TrainConfig, trained: torch.nn.Module) -> tuple[torch.optim.Optimizer, LRScheduler]:
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        trained.parameters(), settings.lr, settings.betas, weight_decay=settings.weight_decay, foreach=True
    )
    warmup = {"num_warmup_steps": settings.warmup, "num_training_steps": config.steps}
    return optimizer, get_scheduler(settings.schedule, optimizer, **warmup)


def _compile_blocks(transformer: ModelMixin) -> None:
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise InputError("compile=true: no C++ compiler found; install g++ or leave compile out")
    transformer.compile_repeated_blocks()


def _loader(config: TrainConfig, dataset: LatentCache | ChunkCrops) -> DataLoader:
    if len(dataset) < config.batch_size:
        raise InputError(f"batch_size={config.batch_size}: the data give {len(dataset)} samples; use a smaller batch")
    return DataLoader(dataset, batch_size=config.batch_size, shuffle=True, drop_last=True)


def _endless(loader: DataLoader) -> Iterator[Tensor]:
    """Epoch after epoch, each in a new order."""
    while True:
        yield from loader
