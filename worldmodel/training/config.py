"""What a training run is told. Plain dataclasses: the command line fills them, a notebook may too."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from worldmodel.conventions import ConventionsName, conventions_of
from worldmodel.errors import InputError
from worldmodel.settings import (
    Count,
    Decay,
    Natural,
    NotNegative,
    Number,
    Positive,
    Rule,
    Seed,
    Settings,
    Share,
    Size,
    Text,
    Texts,
    keys_marked,
    one_of,
)

MAY_CHANGE = {"on_resume": "may change"}  # when a run is resumed: does not change its result
SPLITS_STEP = {"on_resume": "may change where chunks are not paired within a batch"}
WITHIN_BATCH = ("independent", "minibatch_ot")  # objectives that do pair them so

Tracker = Annotated[str, one_of("tensorboard", "wandb", "trackio")]
Lengths = Annotated[tuple[Count, ...], Rule(bool, "give at least one length, for example [17,41]")]
EvenWidth = Annotated[int, Rule(lambda value: value >= 2 and value % 2 == 0, "use an even number, for the positions")]


@dataclass(frozen=True)
class DataConfig(Settings, prefix="data."):
    """Which chunks are trained on: those of a nuScenes-format dataset (`root`), of a collection of videos (`videos`),
    or a latent cache alone (`latents`), where the frames are not at hand.

    Attributes:
        root: folder of a nuScenes-format dataset.
        version: its version, the folder of tables below `root`.
        split: whose scenes, for example train or mini_train.
        cameras: camera names; null is every camera of the rig.
        videos: OpenVid's CSV, another CSV, a JSONL, a text file of paths, or a folder searched through.
        video_folders: where the listed videos lie. video_archives: zips, or folders of them, that hold them.
        video_reader: pyav, or decord (extra `decord`), which refuses the videos it is known to read wrongly.
        most_videos: take so many rows of the list; null is all.
        latents: folder of a latent cache, which `cache build` made with the same model; `size` and `frames` say what
            it was made of.
        size: frame height and width.
        frames: frames of a chunk; a pair is twice as long. With several lengths, each batch is of one length.
        stride: frames between the starts of two pairs.
        decode_once: keep the decoded frames of a small nuScenes-format dataset in one file; autoencoder needs it.
        latent_cache: encode and invert every pair once, before training; false does so in every step.
        skip_bad: replace a pair that cannot be read by the next, and count it, instead of ending the run.
        store: folder for what is kept (frames, latents, cuts); null is the run's folder with .cache appended.
        workers: processes that read frames or latents; 0 is the training process itself.
    """

    root: Text | None = field(default=None, metadata=MAY_CHANGE)
    version: Text = "v1.0-trainval"
    split: Text = "train"
    cameras: Texts | None = None
    videos: Text | None = field(default=None, metadata=MAY_CHANGE)
    video_folders: tuple[Text, ...] = field(default=(), metadata=MAY_CHANGE)
    video_archives: tuple[Text, ...] = field(default=(), metadata=MAY_CHANGE)
    video_reader: Literal["pyav", "decord"] = "pyav"
    most_videos: Count | None = None
    latents: Text | None = field(default=None, metadata=MAY_CHANGE)
    size: Size = (256, 384)
    frames: Lengths = (17,)
    stride: Count = 4
    decode_once: bool = False
    latent_cache: bool = True
    skip_bad: bool = False
    store: Text | None = field(default=None, metadata=MAY_CHANGE)
    workers: Natural = field(default=2, metadata=MAY_CHANGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if [self.root, self.videos, self.latents].count(None) != 2:
            raise InputError("data.root, data.videos, data.latents: give exactly one of them")
        if self.latents is not None and (len(self.frames) > 1 or not self.latent_cache):
            raise InputError("data.latents: a cache has one length; give one data.frames, and leave latent_cache true")


@dataclass(frozen=True)
class TinyModelConfig(Settings, prefix="model."):
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

    vae_channels: Count = 32
    latent_channels: Count = 64
    spatial: Count = 16
    temporal: Count = 4
    layers: Count = 4
    heads: Count = 3
    head_dim: EvenWidth = 96
    caption_channels: Count = 16


@dataclass(frozen=True)
class OptimizerConfig(Settings, prefix="optimizer."):
    """AdamW and its schedule (paper Table 3 has lr 2e-4, betas 0.9 and 0.99).

    Attributes:
        lr: highest learning rate.
        betas: decay of AdamW's two averages.
        weight_decay: AdamW's, on all weights; null is the conventions', 0.01, or 1e-4 for published.
        warmup: steps in which the learning rate rises to `lr`; null is the conventions', 50, or 30 for published.
        schedule: shape of the learning rate after `warmup` steps; ends at 0 except for constant.
        clip: largest norm of the gradient.
        ema: decay of the moving average of the weights, which is what is saved; 0 is none.
    """

    lr: Positive = 2e-4
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    weight_decay: NotNegative | None = None
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup: Natural | None = None
    clip: Positive = 1.0
    ema: Decay = 0.0


@dataclass(frozen=True)
class AutoencoderConfig(Settings, prefix="autoencoder."):
    """The loss of `objective=autoencoder`: mse + l1 * |error| + kl * KL per latent number, on random crops.

    Attributes:
        crop: height and width of the random crops, a multiple of the VAE's spatial ratio.
        l1: weight of the absolute error.
        kl: weight of the divergence from a standard normal.
        log_variance: what the posterior's log-variance starts at; a small variance lets pictures be learned first.
    """

    crop: Size = (128, 128)
    l1: NotNegative = 0.1
    kl: NotNegative = 1.25e-5
    log_variance: Number = -4.0


@dataclass(frozen=True)
class LoraConfig(Settings, prefix="lora."):
    """Low-rank adapters in place of training all weights (peft). The saved pipeline has them merged.

    Attributes:
        rank: of the adapters; 0 trains all weights.
        alpha: scale; an adapter counts alpha / rank.
        targets: names of the linear layers that get one.
    """

    rank: Natural = 0
    alpha: Count = 64
    targets: Texts = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class ValidationConfig(Settings, prefix="validation."):
    """Predictions of held-out pairs while training.

    Attributes:
        every: steps between two validations; 0 is none.
        split: whose scenes; of a collection of videos, its own list `videos`.
        videos: list or folder of held-out videos; null where data.root is used.
        pairs: how many, spread evenly over all there are.
        evaluations: of the network per prediction.
    """

    every: Natural = 0
    split: Text = "val"
    videos: Text | None = None
    pairs: Count = 8
    evaluations: Count = 5


@dataclass(frozen=True)
class TrainConfig(Settings):
    """One training run.

    Attributes:
        objective: flowframes trains a network to flow from observed to future chunks (paper Algorithm 1; Algorithm 3
            where rho is 0); independent from chunks of other pairs (Algorithm 2); minibatch_ot from the batch's chunks
            by optimal transport; noise_conditioned from noise, with the observed chunk shown beside (as LTXVCondition);
            noise_to_video makes chunks from noise (the tiny stand-in of pretraining); autoencoder trains a VAE.
        out: folder of the run; the trained pipeline is its sub-folder `pipeline`.
        pretrained: pipeline folder or hub id to start from; null is a new model of sizes `model`.
        transformer: folder of one that was trained alone; it takes the place of pretrained's own.
        from_scratch: draw the transformer anew; pretrained's is then used for inversion only.
        conventions: paper is this toolkit's reading of the paper; published is what its code, FlowC2S, computes: drawn
            targets, another mixing, one coin a micro-batch, whole timesteps, positions at 24 frames a second, captions
            as prompts. Saved with the run, its checkpoints and its pipeline.
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
    out: Text = field(default="outputs/train", metadata=MAY_CHANGE)
    pretrained: Text | None = field(default=None, metadata=MAY_CHANGE)
    transformer: Text | None = field(default=None, metadata=MAY_CHANGE)
    from_scratch: bool = False
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig, metadata=MAY_CHANGE)
    conventions: ConventionsName = "paper"
    rho: Share = 0.7
    inversion_steps: Count = 25
    sigma: Literal["logit_normal", "uniform"] = "logit_normal"
    sigma_shift: Number | None = None
    steps: Count = 1450
    batch_size: Count = field(default=8, metadata=SPLITS_STEP)
    accumulate: Count = field(default=1, metadata=SPLITS_STEP)
    precision: Literal["no", "bf16"] = "bf16"
    compile: bool = field(default=False, metadata=MAY_CHANGE)
    checkpoint_gradients: bool = field(default=False, metadata=MAY_CHANGE)
    seed: Seed = 0
    log_every: Count = field(default=10, metadata=MAY_CHANGE)
    save_every: Count = field(default=500, metadata=MAY_CHANGE)
    keep: Count = field(default=2, metadata=MAY_CHANGE)
    trackers: tuple[Tracker, ...] = field(default=("tensorboard",), metadata=MAY_CHANGE)
    resume: bool = field(default=False, metadata=MAY_CHANGE)
    overwrite: bool = field(default=False, metadata=MAY_CHANGE)
    device: Literal["auto", "cpu"] = field(default="auto", metadata=MAY_CHANGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise InputError("resume, overwrite: say one of them")
        self._check_autoencoder()

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
    def settled(self) -> "TrainConfig":
        """With what the conventions decide where it was not said."""
        default, given = conventions_of(self.conventions).training, self.optimizer
        decay = default.weight_decay if given.weight_decay is None else given.weight_decay
        warmup = default.warmup if given.warmup is None else given.warmup
        return replace(self, optimizer=replace(given, weight_decay=decay, warmup=warmup))

    @property
    def free_on_resume(self) -> set[str]:
        """Dotted keys, of whole parts too, that may change when this run is resumed: they do not change its result."""
        free = keys_marked(type(self), MAY_CHANGE)
        if self.objective not in WITHIN_BATCH:
            free |= keys_marked(type(self), SPLITS_STEP)
        if self.inverts and conventions_of(self.conventions).training.coin == "batch":
            free -= {"accumulate"}  # each micro-batch has its coin
        return free

    @property
    def captioned(self) -> bool:
        """Whether the network sees each clip's caption."""
        return self.objective != "autoencoder" and conventions_of(self.conventions).training.captions

    @property
    def inverts(self) -> bool:
        """Whether chunks are inverted to noise for this run."""
        return self.objective == "flowframes" and self.rho > 0
