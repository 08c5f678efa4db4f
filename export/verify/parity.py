"""The pipeline in torch beside the artifact, part by part and from frames to frames.

Every part is given what the pipeline's own part was given, so that each error is its own; predictions go from the same
frames to frames. The pipeline runs first and is gone before the artifact is opened: two real models would not fit.

Shape legend: as in `reference`.
"""

import gc
from typing import Any

import numpy as np

from worldmodel.export.clips import clips_of
from worldmodel.export.reference_pipeline import OriginalConfig, open_original
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import open_backend
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import observed_frames, pixels_sha256
from worldmodel.export.runtime.sessions import open_session
from worldmodel.export.verify.comparison import Comparison, compared_frames, compared_latents
from worldmodel.export.verify.reference import Reference, reference_of

SEED = 1  # of the frames where no drive is given; the self test has 0


def references_of(
    artifact: Artifact, original: OriginalConfig, drive: str | None, samples: int, steps: tuple[int, ...]
) -> list[Reference]:
    """Of every batch of clips; the pipeline is gone when this returns.

    Args:
        drive: whose clips are predicted; None is a moving texture.
        samples: batches, as far as the drive has them.
    """
    source = open_original(artifact, original)
    if drive is None:
        shape = artifact.manifest.video_shape
        batches = [observed_frames(SEED + number, shape) for number in range(samples)]
    else:
        batches = clips_of(drive, source.chunk, samples)
    references = [reference_of(source, batch, steps) for batch in batches]
    del source
    gc.collect()
    return references


def compare(
    artifact: Artifact, backend: str, options: dict[str, Any], references: list[Reference], steps: tuple[int, ...]
) -> tuple[list[Comparison], dict[str, list[str]]]:
    """All comparisons, and the sha256 of every prediction's pixels by number of steps.

    Args:
        backend: what runs the graphs. options: what that is told.
    """
    manifest = artifact.manifest
    with Predictor(artifact, open_backend(backend, artifact, **options)) as predictor:
        comparisons = compare_parts(predictor, references)
        predicted = {
            count: [predictor.predict(reference.observed, count) for reference in references] for count in steps
        }
    for count, frames in predicted.items():
        comparisons.append(compared_frames(manifest, "prediction", count, frames, _frames(references, count)))
    if "single" in manifest.parts and manifest.default_steps in steps and backend == "onnxruntime":
        count = manifest.default_steps
        frames = [run_single(artifact, reference.observed) for reference in references]
        comparisons.append(compared_frames(manifest, "single", count, frames, _frames(references, count)))
    hashes = {str(count): [pixels_sha256(video) for video in videos] for count, videos in predicted.items()}
    return comparisons, hashes


def compare_parts(predictor: Predictor, references: list[Reference]) -> list[Comparison]:
    """Encoder, step and decoder on what the pipeline's own were given, and the latents after all steps."""
    manifest = predictor.artifact.manifest
    encoded = [predictor.encode(reference.observed) for reference in references]
    sources = [reference.latents for reference in references]
    comparisons = [compared_latents(manifest, "encoder", "latents", None, encoded, sources)]
    for steps in references[0].runs:
        runs = [reference.runs[steps] for reference in references]
        points = [point for run in runs for point in zip(run.states, run.sigmas, strict=True)]
        answers = [predictor.velocity(state, sigma) for state, sigma in points]
        velocities = [velocity for run in runs for velocity in run.velocities]
        comparisons.append(compared_latents(manifest, "step", "velocity", steps, answers, velocities))
        reached = [predictor.integrate(source, manifest.schedule(steps)) for source in sources]
        expected = [run.reached for run in runs]
        comparisons.append(compared_latents(manifest, "steps", "latents", steps, reached, expected))
        frames = [predictor.decode(latents) for latents in expected]
        comparisons.append(compared_frames(manifest, "decoder", steps, frames, [run.frames for run in runs]))
    return comparisons


def run_single(artifact: Artifact, observed_BFHWC: np.ndarray) -> np.ndarray:
    """The prediction of the one file that holds the loop, uint8 [B, F, H, W, 3]."""
    (path,) = artifact.onnx_files(["single"]).values()
    session = open_session(path)
    (predicted,) = session.run(None, {"observed": observed_BFHWC})
    return np.asarray(predicted)


def _frames(references: list[Reference], steps: int) -> list[np.ndarray]:
    return [reference.runs[steps].frames for reference in references]
