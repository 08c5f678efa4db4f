"""A drive of one second and the three tiny runs that every test of training looks at."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.training import (
    AutoencoderConfig,
    DataConfig,
    OptimizerConfig,
    TinyModelConfig,
    TrainConfig,
    train,
)


@dataclass(frozen=True)
class Runs:
    """The configurations and the resulting pipelines of the three runs."""

    autoencoder: TrainConfig
    base: TrainConfig
    flowframes: TrainConfig

    @property
    def pipelines(self) -> tuple[Path, Path, Path]:
        return tuple(Path(run.out) / "pipeline" for run in (self.autoencoder, self.base, self.flowframes))


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """One training scene of 13 sweeps, small pictures, chunks of 5 frames."""
    root = tmp_path_factory.mktemp("training") / "toy"
    make_toyworld(root, ToyWorldConfig(train_scenes=1, val_scenes=1, seconds=1.0, size=(96, 64), workers=1), False)
    store = str(root.parent / "store")
    return DataConfig(
        str(root), "v1.0-toy", "train", size=(64, 96), frames=(5,), stride=1, decode_once=True, store=store, workers=0
    )


@pytest.fixture(scope="session")
def autoencoder_run(drive: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A small first run, not yet started."""
    return TrainConfig(
        data=drive,
        objective="autoencoder",
        out=str(tmp_path_factory.mktemp("runs") / "autoencoder"),
        model=TinyModelConfig(vae_channels=8, latent_channels=8, layers=1, heads=2, head_dim=16, caption_channels=8),
        autoencoder=AutoencoderConfig(crop=(64, 64)),
        optimizer=OptimizerConfig(lr=2e-3, warmup=2, ema=0.5),
        steps=30,
        precision="no",  # a CPU without bfloat16 units convolves three times faster so
        batch_size=2,
        inversion_steps=2,
        trackers=(),
        log_every=5,
        save_every=20,
        device="cpu",
    )


@pytest.fixture(scope="session")
def runs(autoencoder_run: TrainConfig) -> Runs:
    """VAE, then noise to video, then FlowFrames, each from the one before."""
    first = autoencoder_run
    folder = Path(first.out).parent
    vae = str(folder / "autoencoder/pipeline")
    base = replace(first, objective="noise_to_video", precision="bf16", out=str(folder / "base"), pretrained=vae)
    last = replace(base, objective="flowframes", out=str(folder / "ff"), pretrained=str(folder / "base/pipeline"))
    for run in (first, base, last):
        train(run)
    return Runs(first, base, last)
