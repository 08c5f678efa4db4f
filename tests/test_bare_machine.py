"""Memory, latency and training from latents run where PyAV, Rerun, panda3d, simplejpeg, matplotlib and tensorboard are
absent, as on a borrowed GPU."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from bare_machine import ABSENT, bare_interpreter

from worldmodel.datasets.pairs import PixelPair
from worldmodel.models.open import open_pipeline
from worldmodel.training.latent_cache import build_latent_cache
from worldmodel.training.latents import LatentEncoder

pytestmark = pytest.mark.slow

RUN = """
import json, sys
from dataclasses import replace
from importlib.util import find_spec
from worldmodel.benchmarks.suites.config import BenchmarkConfig, CostConfig
from worldmodel.benchmarks.suites.run import benchmark
absent, out = json.loads(sys.argv[1]), sys.argv[2]
there = [name for name in absent if find_spec(name) is not None]
assert not there, there
cost = CostConfig(runs=1, warmup=0, profile="small", volumes=2)
config = BenchmarkConfig(suite="memory", methods={"flowframes_ltxv": {}}, out=out + "/memory", cost=cost)
benchmark(config)
benchmark(replace(config, suite="latency", out=out + "/latency"))
from worldmodel.training import DataConfig, TrainConfig, train
data = DataConfig(latents=sys.argv[3], workers=0)
train(TrainConfig(data, pretrained="tiny", out=out + "/run", rho=0, steps=2, batch_size=1, log_every=1, trackers=(),
                  device="cpu"))
"""


class Noise:
    """Two pairs of random frames."""

    identity = "noise"

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> PixelPair:
        generator = torch.Generator().manual_seed(number)
        observed, future = torch.randint(256, (2, 1, 5, 3, 32, 48), generator=generator).to(torch.uint8)
        return PixelPair("noise", ("front",), observed, future, np.zeros((1, 10)), 12.0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    encoder = LatentEncoder(open_pipeline("tiny", device="cpu").backbone, 0, "bf16")
    return build_latent_cache(tmp_path / "cache", Noise(), encoder).folder


def test_memory_latency_and_training_from_latents_need_none_of_them(
    repository: Path, cache: Path, tmp_path: Path
) -> None:
    command, environment = bare_interpreter(tmp_path / "links", repository)
    words = [*command, "-c", RUN, json.dumps(ABSENT), str(tmp_path), str(cache)]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "memory" / "report.md").is_file() and (tmp_path / "run" / "pipeline" / "training.json").is_file()
