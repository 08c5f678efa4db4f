"""Step graphs of very small LTX and Wan transformers, each exported once a session, and inputs of theirs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")

import onnxruntime

Samples = list[dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def step_file(artifact: Callable[..., Path]) -> Callable[..., Path]:
    """step_file(family, precision): `step.onnx` with a prompt of some tokens and guidance."""
    return lambda family, precision="fp32": artifact(family, precision) / "step.onnx"


@pytest.fixture(scope="session")
def samples_for() -> Callable[[Path, int, int], Samples]:
    """samples_for(step, count, seed): normal latents at sigmas from 1 down."""

    def samples(step: Path, count: int, seed: int) -> Samples:
        shape = onnxruntime.InferenceSession(str(step), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
        rng, sigmas = np.random.default_rng(seed), np.linspace(1, 0.2, count, dtype=np.float32)
        return [{"latents": rng.normal(size=shape).astype(np.float32), "sigma": sigma[None]} for sigma in sigmas]

    return samples
