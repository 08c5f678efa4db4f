"""What a training run is told. Plain dataclasses: the command line fills them, a notebook may too."""

from dataclasses import dataclass, field
from typing import Literal

from worldmodel.errors import InputError

TRACKERS = ("tensorboard", "wandb", "trackio")


@dataclass(frozen=True)
class DataConfig:
    """Which chunks are trained on: those of a nuScenes-format dataset (`root`) or of a collection of videos (`videos`).

    Attributes:
        root: folder of a nuScenes-format dataset.
        version: its version, the folder of tables below `root`.
        split: whose scenes, for example train or mini_train.
        cameras: camera names; null is every camera of the rig.
        videos: OpenVid's CSV, another CSV, a JSONL, a text file of paths, or a folder searched through.
        video_folders: where the listed videos lie. video_archives: zips, or folders of them, that hold them.
        most_videos: take so many rows of the list; null is all.
        size: frame height and width.
        frames: frames of a chunk; a pair is twice as long. With several lengths, each batch is of one length.
        stride: frames between the starts of two pairs.
        decode_once: keep the decoded frames of a small nuScenes-format dataset in one file; autoencoder needs it.
        latent_cache: encode and invert every pair once, before training; false does so in every step.
        skip_bad: replace a pair that cannot be read by the next, and count it, instead of ending the run.
        store: folder for what is kept (frames, latents, cuts); null is the run's folder with .cache appended.
        workers: processes that read frames or latents; 0 is the training process itself.
    """

    root: str | None = None
    version: str = "v1.0-trainval"
    split: str = "train"
    cameras: tuple[str, ...] | None = None
    videos: str | None = None
    video_folders: tuple[str, ...] = ()
    video_archives: tuple[str, ...] = ()
    most_videos: int | None = None
    size: tuple[int, int] = (256, 384)
    frames: tuple[int, ...] = (17,)
    stride: int = 4
    decode_once: bool = False
    latent_cache: bool = True
    skip_bad: bool = False
    store: str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        if (self.root is None) == (self.videos is None):
            raise InputError("data.root, data.videos: give exactly one of them")
        if not self.frames or min(self.frames) < 1:
            raise InputError(f"data.frames={list(self.frames)}: give at least one length, for example [17,41]")
        if self.stride < 1:
            raise InputError(f"data.stride={self.stride}: use at least 1")


@dataclass(frozen=True)
class TinyModelConfig:
    """Sizes of a new model of the LTX classes, used where no pretrained folder is given. See `backbones.tiny`.

    Attributes:
        vae_channels: width of the VAE's first stage.
        latent_channels: channels of a latent, also the transformer's input.
        spatial: pixels per latent, each way.
        temporal: frames per latent after the first.
        layers: transformer blocks.
        heads: attention heads.
        head_dim: width of a head.
        caption_channels: width of a prompt's embedding.
    """

    vae_channels: int = 32
    latent_channels: int = 64
    spatial: int = 16
    temporal: int = 4
    layers: int = 4
    heads: int = 3
    head_dim: int = 96
    caption_channels: int = 16


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule (paper Table 3 has lr 2e-4, betas 0.9 and 0.99).

    Attributes:
        lr: highest learning rate.
        betas: decay of AdamW's two averages.
        weight_decay: AdamW's, on all weights.
        warmup: steps in which the learning rate rises to `lr`.
        schedule: shape of the learning rate after `warmup` steps; ends at 0 except for constant.
        clip: largest norm of the gradient.
        ema: decay of the moving average of the weights, which is what is saved; 0 is none.
    """

    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup: int = 50
    clip: float = 1.0
    ema: float = 0.0


@dataclass(frozen=True)
class AutoencoderConfig:
    """The loss of `objective=autoencoder`: mse + l1 * |error| + kl * KL per latent number, on random crops.

    Attributes:
        crop: height and width of the random crops, a multiple of the VAE's spatial ratio.
        l1: weight of the absolute error.
        kl: weight of the divergence from a standard normal.
        log_variance: what the posterior's log-variance starts at; a small variance lets pictures be learned first.
    """

    crop: tuple[int, int] = (128, 128)
    l1: float = 0.1
    kl: float = 1.25e-5
    log_variance: float = -4.0


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters in place of training all weights (peft). The saved pipeline has them merged.

    Attributes:
        rank: of the adapters; 0 trains all weights.
        alpha: scale; an adapter counts alpha / rank.
        targets: names of the linear layers that get one.
    """

    rank: int = 0
    alpha: int = 64
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class ValidationConfig:
    """Predictions of held-out pairs while training.

    Attributes:
        every: steps between two validations; 0 is none.
        split: whose scenes; of a collection of videos, its own list `videos`.
        videos: list or folder of held-out videos; null where data.root is used.
        pairs: how many, spread evenly over all there are.
        evaluations: of the network per prediction.
    """

    every: int = 0
    split: str = "val"
    videos: str | None = None
    pairs: int = 8
    evaluations: int = 5


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        objective: flowframes trains a network to flow from observed to future chunks (paper Algorithm 1; Algorithm 3
            where rho is 0); independent from chunks of other pairs (Algorithm 2); minibatch_ot from the batch's chunks
            by optimal transport; noise_conditioned from noise, with the observed chunk shown beside (as LTXVCondition);
            noise_to_video makes chunks from noise (the tiny stand-in of pretraining); autoencoder trains a VAE.
        out: folder of the run; the trained pipeline is its sub-folder `pipeline`.
        pretrained: pipeline folder or hub id to start from; null is a new model of sizes `model`.
        from_scratch: draw the transformer anew; pretrained's is then used for inversion only.
        rho: probability that a source is mixed with the future chunk inverted to noise; for flowframes.
        inversion_steps: steps of that inversion (RF-Solver, two evaluations each), done once per chunk and kept.
        sigma: how sigmas are drawn: logit_normal (shifted by token count, as LTX) or uniform (as Wan).
        sigma_shift: mean of the logit-normal before the sigmoid; null is LTX's, by token count. Larger trains nearer to
            the observed chunk, where nothing of the future is in the input yet.
        steps: optimiser steps.
        batch_size: chunks or pairs that one process takes at once. accumulate: so many of these make a step.
        precision: autocast of the networks.
        compile: torch.compile of the transformer's blocks; needs a C++ compiler, does not apply to autoencoder.
        checkpoint_gradients: compute activations again in the backward pass: less memory, a third more work.
        seed: of new weights, order, crops and sigmas.
        log_every: steps between two lines of the log.
        save_every: steps between two checkpoints. keep: how many of them stay.
        trackers: besides log.jsonl; tensorboard, wandb, trackio, each of which must be installed.
        resume: go on from the newest checkpoint in `out`. overwrite: replace the run in `out`.
        device: cpu, or auto for the GPU where there is one.
    """

    data: DataConfig
    objective: Literal[
        "flowframes", "independent", "minibatch_ot", "noise_conditioned", "noise_to_video", "autoencoder"
    ] = "flowframes"
    out: str = "outputs/train"
    pretrained: str | None = None
    from_scratch: bool = False
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    rho: float = 0.7
    inversion_steps: int = 25
    sigma: Literal["logit_normal", "uniform"] = "logit_normal"
    sigma_shift: float | None = None
    steps: int = 1450
    batch_size: int = 8
    accumulate: int = 1
    precision: Literal["no", "bf16"] = "bf16"
    compile: bool = False
    checkpoint_gradients: bool = False
    seed: int = 0
    log_every: int = 10
    save_every: int = 500
    keep: int = 2
    trackers: tuple[str, ...] = ("tensorboard",)
    resume: bool = False
    overwrite: bool = False
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.rho <= 1:
            raise InputError(f"rho={self.rho}: use a probability from 0 to 1, the paper's is 0.7")
        for key in ("steps", "batch_size", "accumulate", "inversion_steps", "log_every", "save_every", "keep"):
            if getattr(self, key) < 1:
                raise InputError(f"{key}={getattr(self, key)}: use at least 1")
        if self.resume and self.overwrite:
            raise InputError("resume, overwrite: say one of them")
        for name in self.trackers:
            if name not in TRACKERS:
                raise InputError(f"trackers: no {name!r}; choose of {', '.join(TRACKERS)}")
        self._check_autoencoder()
        if self.optimizer.lr <= 0:
            raise InputError(f"optimizer.lr={self.optimizer.lr}: use a positive number, the paper's is 2e-4")
        if not 0 <= self.optimizer.ema < 1:
            raise InputError(f"optimizer.ema={self.optimizer.ema}: use a decay from 0 to below 1")

    def _check_autoencoder(self) -> None:
        if self.objective != "autoencoder":
            return
        if self.compile or self.checkpoint_gradients or self.lora.rank or self.from_scratch:
            raise InputError(
                "compile, checkpoint_gradients, lora, from_scratch are for the transformer: "
                "leave them out for objective=autoencoder"
            )
        if self.data.root is None or not self.data.decode_once or len(self.data.frames) > 1:
            raise InputError("objective=autoencoder: give data.root, data.decode_once=true and one length data.frames")

    @property
    def inverts(self) -> bool:
        """Whether chunks are inverted to noise for this run."""
        return self.objective == "flowframes" and self.rho > 0


@dataclass(frozen=True)
class CacheBuildConfig(TrainConfig):
    """The cache that a training run with the same settings uses, built beforehand.

    Attributes:
        task: which share of the shards this job writes, from 0. tasks: how many jobs there are.
    """

    task: int = 0
    tasks: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.task < self.tasks:
            raise InputError(f"task={self.task} tasks={self.tasks}: use a task from 0 to {self.tasks - 1}")
        if self.objective == "autoencoder":
            raise InputError("objective=autoencoder: trains on frames, it has no latent cache")


@dataclass(frozen=True)
class CacheLookConfig:
    """What of a cache is decoded for a look.

    Attributes:
        folder: the cache, a folder with card.json.
        pretrained: the model that made it: a pipeline folder, a shipped name, official files or a hub id.
        out: PNG to write.
        pairs: how many, spread evenly.
        steps: of the integration that carries inverted noise back to video.
    """

    folder: str
    pretrained: str
    out: str = "cache.png"
    pairs: int = 6
    steps: int = 25
