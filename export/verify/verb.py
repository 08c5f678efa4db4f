"""`worldmodel export verify`: the pipeline in torch beside the artifact, part by part and from frames to frames.

Every part is given what the pipeline's own part was given, so that each error is its own; predictions go from the same
frames to frames. The pipeline runs first and is gone before the artifact is opened: two real models would not fit.

Shape legend: as in `reference`.
"""

import gc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.clips import clips_of
from worldmodel.export.reference_pipeline import OriginalConfig, open_original
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import NAME
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import observed_frames, pixels_sha256
from worldmodel.export.runtime.sessions import open_session
from worldmodel.export.verify.comparison import Comparison, compared_frames, compared_latents
from worldmodel.export.verify.config import VerifyConfig
from worldmodel.export.verify.reference import Reference, reference_of
from worldmodel.export.verify.report import report
from worldmodel.files import file_sha256
from worldmodel.measure.machine import versions

SEED = 1  # of the frames where no drive is given; the self test has 0


def verify(config: VerifyConfig) -> list[Comparison]:
    """Print a table, write it with all figures into the artifact; the last line is JSON.

    Raises:
        InputError: an artifact, checkpoint, prompt or drive that cannot be used, or a difference above what the
            precision is allowed; the report is written then, too.
    """
    _check(config)
    artifact = Artifact.open(config.artifact)
    artifact.onnx_files(artifact.manifest.parts)  # harmed files are refused before the pipeline runs
    steps = config.steps or tuple(int(count) for count in artifact.manifest.schedules)
    for count in steps:
        artifact.manifest.schedule(count)
    references = _references(artifact, config, steps)
    comparisons, pixels = _compared(config, artifact, references, steps)
    settings = _settings(config, artifact) | {"samples": len(references), "pixels_sha256": pixels}
    report(Path(config.artifact), settings, comparisons)
    failed = [one for one in comparisons if not one.passed]
    if failed:
        more = f" (and {len(failed) - 1} more, see its parity.md)" if len(failed) > 1 else ""
        raise InputError(
            f"{config.artifact} does not compute what its pipeline does: {failed[0]}{more};"
            " export with a wider precision, or with calibration=DRIVE"
        )
    return comparisons


def _references(artifact: Artifact, config: VerifyConfig, steps: tuple[int, ...]) -> list[Reference]:
    """Of every batch of clips; the pipeline is gone when this returns."""
    original = OriginalConfig(
        config.checkpoint, config.prompt_embeds, config.negative_prompt_embeds, config.transformer
    )
    source = open_original(artifact, original)
    if config.source is None:
        shape = artifact.manifest.video_shape
        batches = [observed_frames(SEED + number, shape) for number in range(config.samples)]
    else:
        batches = clips_of(config.source, source.chunk, config.samples)
    references = [reference_of(source, batch, steps) for batch in batches]
    del source
    gc.collect()
    return references


def _compared(
    config: VerifyConfig, artifact: Artifact, references: list[Reference], steps: tuple[int, ...]
) -> tuple[list[Comparison], dict[str, list[str]]]:
    """All comparisons, and the sha256 of every prediction's pixels by number of steps."""
    manifest = artifact.manifest
    options: dict[str, Any] = (
        {} if config.backend == "tensorrt" else {"device": config.device, "threads": config.threads}
    )
    with Predictor.open(config.artifact, config.backend, **options) as predictor:
        found = compare_parts(predictor, references)
        predicted = {count: [predictor.predict(one.observed, count) for one in references] for count in steps}
    for count, frames in predicted.items():
        found.append(compared_frames(manifest, "prediction", count, frames, _frames(references, count)))
    if "single" in manifest.parts and manifest.default_steps in steps and config.backend == "onnxruntime":
        count, frames = manifest.default_steps, [run_single(artifact, one.observed) for one in references]
        found.append(compared_frames(manifest, "single", count, frames, _frames(references, count)))
    return found, {str(count): [pixels_sha256(one) for one in frames] for count, frames in predicted.items()}


def compare_parts(predictor: Predictor, references: list[Reference]) -> list[Comparison]:
    """Encoder, step and decoder on what the pipeline's own were given, and the latents after all steps."""
    manifest = predictor.artifact.manifest
    encoded = [predictor.encode(one.observed) for one in references]
    found = [compared_latents(manifest, "encoder", "latents", None, encoded, [one.latents for one in references])]
    for steps in references[0].runs:
        runs = [one.runs[steps] for one in references]
        met = [(state, sigma) for run in runs for state, sigma in zip(run.states, run.sigmas, strict=True)]
        answers = [predictor.velocity(state, sigma) for state, sigma in met]
        velocities = [velocity for run in runs for velocity in run.velocities]
        found.append(compared_latents(manifest, "step", "velocity", steps, answers, velocities))
        reached = [predictor.integrate(one.latents, manifest.schedule(steps)) for one in references]
        found.append(compared_latents(manifest, "steps", "latents", steps, reached, [run.reached for run in runs]))
        frames = [predictor.decode(run.reached) for run in runs]
        found.append(compared_frames(manifest, "decoder", steps, frames, [run.frames for run in runs]))
    return found


def run_single(artifact: Artifact, observed_BFHWC: np.ndarray) -> np.ndarray:
    """The prediction of the one file that holds the loop, uint8 [B, F, H, W, 3]."""
    (path,) = artifact.onnx_files(["single"]).values()
    session = open_session(path)
    (predicted,) = session.run(None, {"observed": observed_BFHWC})
    return np.asarray(predicted)


def _frames(references: list[Reference], steps: int) -> list[np.ndarray]:
    return [one.runs[steps].frames for one in references]


def _settings(config: VerifyConfig, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "artifact": config.artifact,
        "manifest_sha256": file_sha256(artifact.folder / NAME),
        "checkpoint": config.checkpoint or manifest.checkpoint.name,
        "precision": asdict(manifest.precision),
        "guidance": manifest.guidance,
        "source": config.source or f"moving texture, seed {SEED}",
        "cameras": manifest.cameras,
        "backend": config.backend,
        "device": config.device if config.backend == "onnxruntime" else "cuda",
        "versions": versions() | manifest.versions,
    }


def _check(config: VerifyConfig) -> None:
    if len(set(config.steps)) != len(config.steps):
        raise InputError(f"steps={list(config.steps)}: name each number of steps once")
