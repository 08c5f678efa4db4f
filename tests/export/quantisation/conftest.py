"""Step graphs of very small LTX and Wan transformers, each exported once a session, and inputs of theirs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")

import onnxruntime
from export_models import CHUNK, baked, small_backbone

from worldmodel.export.graphs.families import graphs_of
from worldmodel.export.onnx_files import export_onnx
from worldmodel.export.precision import FLOATS, cast

Samples = list[dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def step_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """step_file(family, precision): `step.onnx` with a prompt of some tokens and guidance."""
    made: dict[tuple[str, str], Path] = {}

    def path(family: str, precision: str = "fp32") -> Path:
        if (family, precision) not in made:
            backbone = small_backbone(family)
            graph = graphs_of(backbone, CHUNK, baked(backbone, family))["step"]
            module = cast(graph.make(), FLOATS[precision])
            file = tmp_path_factory.mktemp("steps") / f"{family}-{precision}.onnx"
            export_onnx(module, graph.examples(module), file, module.input_names, module.output_names)
            made[family, precision] = file
        return made[family, precision]

    return path


@pytest.fixture(scope="session")
def samples_for() -> Callable[[Path, int, int], Samples]:
    """samples_for(step, count, seed): normal latents at sigmas from 1 down."""

    def samples(step: Path, count: int, seed: int) -> Samples:
        shape = onnxruntime.InferenceSession(str(step), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
        rng, sigmas = np.random.default_rng(seed), np.linspace(1, 0.2, count, dtype=np.float32)
        return [{"latents": rng.normal(size=shape).astype(np.float32), "sigma": sigma[None]} for sigma in sigmas]

    return samples
