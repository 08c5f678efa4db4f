"""The runtime on exported graphs: rollouts are the pipeline's own, a rig's stream and its vehicle see the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.stream import CameraStream
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import to_uint8


@pytest.fixture(scope="module")
def folder(artifact: Callable[..., Path]) -> Path:
    return artifact("tiny", "fp32")


@pytest.fixture(scope="module")
def drive(folder: Path) -> np.ndarray:
    """uint8 [B, F, H, W, 3] of the artifact's size."""
    with Predictor.open(folder, threads=1) as predictor:
        shape = predictor.artifact.manifest.video_shape
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("steps", [5, 10])
def test_a_rollout_through_latents_is_the_pipelines(
    folder: Path, drive: np.ndarray, saved_pipeline: Callable[[str], Path], steps: int
) -> None:
    pipeline = FlowFramesPipeline.from_pretrained(saved_pipeline("tiny"))
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline.rollout(torch.from_numpy(drive).movedim(-1, 2), 3, "latents", num_inference_steps=steps)
    with Predictor.open(folder, threads=1) as predictor:
        frames = predictor.rollout(drive, 3, "latents", steps)
        latents = predictor.encode(drive)
        for _ in range(3):
            latents = predictor.integrate(latents, predictor.artifact.manifest.schedule(steps))
    last = expected.latents[:, :, -latents.shape[2] :].numpy()
    assert np.linalg.norm(latents - last) <= 1e-5 * np.linalg.norm(last)
    off = np.abs(frames.astype(int) - to_uint8(expected.frames).movedim(2, -1).numpy())
    assert off.max() <= 1 and (off > 0).mean() < 1e-3 and frames.std() > 5
    assert predictor.calls == {"encoder": 2, "step": 6 * steps, "decoder": 3}, "one of them by this test itself"


def test_a_stream_of_cameras_predicts_what_a_chunk_does(folder: Path, drive: np.ndarray) -> None:
    with Predictor.open(folder, threads=1) as predictor:
        stream = CameraStream(predictor, steps=5)
        answers = [stream.push(drive[:, frame]) for frame in range(drive.shape[1])]
        assert answers[-1] is not None and np.array_equal(answers[-1], predictor.predict(drive, 5))
