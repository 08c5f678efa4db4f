"""What a training run is told. Plain dataclasses: the command line fills them, a notebook may too."""

from dataclasses import dataclass, field
from typing import Literal

from worldmodel.errors import InputError


@dataclass(frozen=True)
class DataConfig:
    """Which chunks are trained on.

    Attributes:
        root: folder of a nuScenes-format dataset.
        version: its version, the folder of tables below `root`.
        split: whose scenes, for example train or mini_train.
        cameras: camera names; null is every camera of the rig.
        size: frame height and width.
        frames: frames of a chunk; a pair is twice as long.
        stride: frames between the starts of two pairs.
        store: folder for decoded frames and latents; null is `cache` below the run's folder.
        workers: processes that read pictures.
    """

    root: str
    version: str = "v1.0-trainval"
    split: str = "train"
    cameras: tuple[str, ...] | None = None
    size: tuple[int, int] = (256, 384)
    frames: int = 17
    stride: int = 4
    store: str | None = None
    workers: int = 2


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
class TrainConfig:
    """One training run.

    Attributes:
        objective: autoencoder trains a VAE; noise_to_video trains a network to make chunks from noise (the tiny
            stand-in of text-to-video pretraining); flowframes trains it to flow from observed to future chunks
            (paper Algorithm 1; Algorithm 3 where rho is 0); independent does so from chunks of other pairs
            (Algorithm 2).
        out: folder of the run; the trained pipeline is its sub-folder `pipeline`.
        pretrained: pipeline folder to start from; null is a new model of sizes `model`.
        rho: probability that a source is mixed with the future chunk inverted to noise; for flowframes.
        inversion_steps: steps of that inversion (RF-Solver, two evaluations each), done once per chunk and kept.
        sigma: how sigmas are drawn: logit_normal (shifted by token count, as LTX) or uniform (as Wan).
        sigma_shift: mean of the logit-normal before the sigmoid; null is LTX's, by token count. Larger trains nearer to
            the observed chunk, where nothing of the future is in the input yet.
        steps: optimiser steps. batch_size: chunks or pairs a step.
        precision: autocast of the networks.
        compile: torch.compile of the transformer's blocks; needs a C++ compiler, does not apply to autoencoder.
        seed: of new weights, order, crops and sigmas.
        log_every: steps between two lines of the log.
        save_every: steps between two checkpoints.
        overwrite: replace an existing run of the same folder.
        device: cpu, cuda, or auto.
    """

    data: DataConfig
    objective: Literal["autoencoder", "noise_to_video", "flowframes", "independent"] = "flowframes"
    out: str = "outputs/train"
    pretrained: str | None = None
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    rho: float = 0.7
    inversion_steps: int = 25
    sigma: Literal["logit_normal", "uniform"] = "logit_normal"
    sigma_shift: float | None = None
    steps: int = 1450
    batch_size: int = 8
    precision: Literal["no", "bf16"] = "bf16"
    compile: bool = False
    seed: int = 0
    log_every: int = 10
    save_every: int = 500
    overwrite: bool = False
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.rho <= 1:
            raise InputError(f"rho={self.rho}: use a probability from 0 to 1, the paper's is 0.7")
        for key in ("steps", "batch_size", "inversion_steps", "log_every", "save_every"):
            if getattr(self, key) < 1:
                raise InputError(f"{key}={getattr(self, key)}: use at least 1")
        if self.compile and self.objective == "autoencoder":
            raise InputError("compile=true is for the transformer: leave it out for objective=autoencoder")
        if self.optimizer.lr <= 0:
            raise InputError(f"optimizer.lr={self.optimizer.lr}: use a positive number, the paper's is 2e-4")
        if not 0 <= self.optimizer.ema < 1:
            raise InputError(f"optimizer.ema={self.optimizer.ema}: use a decay from 0 to below 1")
