"""Torch as a backend computes what ONNX Runtime computes from the exported graphs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import Backend, open_backend
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import observed_frames

FAMILIES = {"tiny": {}, "wan": {"wan_decoder": "stream"}}


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm((found - expected).astype(float)) / np.linalg.norm(expected.astype(float)))


def same_video(found: np.ndarray, expected: np.ndarray) -> bool:
    """Where a value lies between two levels, the last bit of a float decides."""
    difference = np.abs(found.astype(int) - expected)
    return found.dtype == np.uint8 and difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.fixture(scope="module", params=FAMILIES)
def pair(
    request: pytest.FixtureRequest, artifact: Callable[..., Path], saved_pipeline: Callable[[str], Path]
) -> tuple[Artifact, Backend, Backend]:
    """An artifact, torch, and ONNX Runtime."""
    from worldmodel.export.bench.torch_backend import TorchBackend
    from worldmodel.export.reference_pipeline import OriginalConfig

    family = request.param
    opened = Artifact.open(artifact(family, "fp32", **FAMILIES[family]))
    prompt = None if family == "tiny" else str(saved_pipeline(family) / "prompt.safetensors")
    return opened, TorchBackend(opened, OriginalConfig(prompt_embeds=prompt)), open_backend("onnxruntime", opened)


def test_every_part_is_the_same(pair: tuple[Artifact, Backend, Backend]) -> None:
    opened, torch_backend, onnx = pair
    observed = observed_frames(0, opened.manifest.video_shape)
    latents = onnx.run("encoder", {"video": observed})["latents"]
    assert isinstance(torch_backend, Backend) and torch_backend.name == "eager"
    assert relative(torch_backend.run("encoder", {"video": observed})["latents"], latents) <= 1e-5
    inputs = {"latents": latents, "sigma": np.array([0.7], np.float32)}
    found, expected = (backend.run("step", inputs)["velocity"] for backend in (torch_backend, onnx))
    assert found.dtype == np.float32 and relative(found, expected) <= 1e-5
    found, expected = (Predictor(opened, backend).decode(latents) for backend in (torch_backend, onnx))
    assert found.shape == opened.manifest.video_shape and same_video(found, expected)


def test_what_a_streaming_decoder_remembers_is_the_same(pair: tuple[Artifact, Backend, Backend]) -> None:
    import torch

    opened, torch_backend, onnx = pair
    if not opened.manifest.streams:
        assert list(torch_backend.run("decoder", {"latents": latents_of(opened)})) == ["video"]
        return
    one, ports = latents_of(opened)[:, :, :1], opened.manifest.parts
    names = [port.name for port in ports["decoder_first"].outputs[1:]]
    kept = torch_backend.run("decoder_first", {"latents": one}, names)
    assert all(isinstance(kept[name], torch.Tensor) for name in names) and isinstance(kept["video"], np.ndarray)
    remembered = [port.name for port in ports["decoder_next"].inputs[1:]]
    plain = onnx.run("decoder_first", {"latents": one})
    found = torch_backend.run(
        "decoder_next", {"latents": one} | dict(zip(remembered, map(kept.get, names), strict=True))
    )
    expected = onnx.run("decoder_next", {"latents": one} | dict(zip(remembered, map(plain.get, names), strict=True)))
    assert list(found) == [port.name for port in ports["decoder_next"].outputs]
    assert len(names) > 10 and same_video(found.pop("video"), expected["video"])
    assert max(relative(found[name], expected[name]) for name in found) <= 1e-5


def latents_of(opened: Artifact) -> np.ndarray:
    shape = opened.manifest.cameras, *opened.manifest.latents
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_a_compiled_step_is_the_same(artifact: Callable[..., Path]) -> None:
    """In a process whose functions do not check the types of what they are given: that cannot be compiled."""
    code = """
import sys
import numpy as np
from worldmodel.export.bench.torch_backend import TorchBackend
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import open_backend
opened = Artifact.open(sys.argv[1])
compiled, onnx = TorchBackend(opened, compile=True, threads=1), open_backend("onnxruntime", opened, threads=1)
latents = np.random.default_rng(0).standard_normal((opened.manifest.cameras, *opened.manifest.latents), np.float32)
inputs = {"latents": latents, "sigma": np.array([0.7], np.float32)}
found, expected = (backend.run("step", inputs)["velocity"] for backend in (compiled, onnx))
from torch._dynamo.utils import counters
print(compiled.name, counters["stats"]["unique_graphs"], np.linalg.norm(found - expected) / np.linalg.norm(expected))
"""
    command = [sys.executable, "-c", code, str(artifact("tiny", "fp32"))]
    done = subprocess.run(command, capture_output=True, text=True)
    name, graphs, difference = done.stdout.split() or [done.stderr, "0", "1"]
    assert name == "compile" and int(graphs) > 0 and float(difference) <= 1e-5


def test_what_cannot_be_is_refused(artifact: Callable[..., Path], saved_pipeline: Callable[[str], Path]) -> None:
    import torch

    from worldmodel.export.bench.torch_backend import TorchBackend
    from worldmodel.export.reference_pipeline import OriginalConfig

    opened = Artifact.open(artifact("tiny", "fp32"))
    with pytest.raises(InputError, match="is not the one that"):
        TorchBackend(opened, OriginalConfig(checkpoint=str(saved_pipeline("ltx"))))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device=cuda: torch finds none here; use device=cpu"):
            TorchBackend(opened, device="cuda")
