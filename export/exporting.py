"""`worldmodel export`: a FlowFrames pipeline to an artifact that runs without PyTorch.

    from worldmodel.export.config import ExportConfig
    from worldmodel.export.exporting import export
    export(ExportConfig(checkpoint="tiny", out="outputs/export"))

An artifact is a folder: `manifest.json` and the ONNX graphs encoder, step and decoder (see
`worldmodel.export.runtime.manifest`). It appears whole or not at all.
"""

import datetime
import gc
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from worldmodel.errors import InputError
from worldmodel.export.calibration import Calibration, calibrate, random_sources
from worldmodel.export.check.targets import check_precision
from worldmodel.export.clips import clips_of
from worldmodel.export.config import ExportConfig
from worldmodel.export.graphs.families import Graph, graphs_of
from worldmodel.export.graphs.prompt import prompt_hash
from worldmodel.export.onnx_files import OPSET, export_onnx
from worldmodel.export.precision import FLOATS, cast
from worldmodel.export.quantisation import QuantisationOptions, quantise
from worldmodel.export.quantisation.record import NAME as QUANTISATION
from worldmodel.export.quantisation.tensor_ranges import along_schedule
from worldmodel.export.runtime.manifest import NAME, SCHEMA, Manifest
from worldmodel.export.runtime.manifest_fields import Checkpoint, Part, Precision, Schedule
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import note, observed_frames
from worldmodel.export.sampling import linear_schedules
from worldmodel.export.single_file import write_single
from worldmodel.export.source import ExportSource, open_export_source
from worldmodel.files import file_sha256, new_folder
from worldmodel.measure.hashes import weights_hash
from worldmodel.measure.memory import peak_memory_mb
from worldmodel.measure.report import publish
from worldmodel.measure.timing import Stopwatch
from worldmodel.version import __version__

TOLERANCE = {"fp32": 1.0, "fp16": 2.0, "bf16": 4.0, "int8": 6.0, "fp8": 6.0}
"""Levels of 255 by which a block of the self-test may differ on another machine; one is the rounding of two bytes."""

SEED = 0


@dataclass(frozen=True)
class ExportJob:
    """One export: from what, to which folder, in which numbers."""

    config: ExportConfig
    folder: Path
    source: ExportSource
    precision: Precision
    schedules: dict[str, Schedule]
    calibration: Calibration | None
    watch: Stopwatch


def export(config: ExportConfig) -> Manifest:
    """Write the artifact, print its parts; the last line is JSON.

    Raises:
        InputError: a checkpoint, size, prompt, precision or folder that cannot be used, a precision that the target
            does not have, or a combination that has no graph. Nothing is left behind then.
    """
    watch = Stopwatch()
    with new_folder(Path(config.out), "artifact", NAME, config.overwrite) as folder:
        manifest = _export_into(folder, config, watch)
        sizes = {name: (folder / name).stat().st_size for name in manifest.files}
    publish(_report(manifest, sizes, watch, config), _headline(manifest, sizes, watch, config.out))
    return manifest


def precisions(config: ExportConfig) -> Precision:
    """Of each part: as asked for it, else for all; beside a step in bf16 or 8 bits the VAE is in fp16."""
    vae: Literal["fp32", "fp16"] = "fp32" if config.precision == "fp32" else "fp16"
    return Precision(config.encoder_precision or vae, config.precision, config.decoder_precision or vae)


def _export_into(folder: Path, config: ExportConfig, watch: Stopwatch) -> Manifest:
    precision = precisions(config)
    _check(config, precision)
    with watch("load"):
        source = open_export_source(config)
    if source.prompts.guidance_skipped is not None:
        print(f"guidance: not computed ({source.prompts.guidance_skipped})")
    backbone = source.pipeline.backbone
    schedules = linear_schedules(source.pipeline.scheduler, config.steps, backbone.first_sigma)
    graphs = graphs_of(backbone, source.chunk, source.prompts, config.wan_decoder == "stream")
    with watch("calibrate"):
        calibration = _calibration(config, source, graphs, schedules[str(config.steps[0])])
    job = ExportJob(config, folder, source, precision, schedules, calibration, watch)
    parts = {}
    for name, graph in graphs.items():
        with watch(name):
            parts[name] = _write_part(job, name, graph)
        gc.collect()  # what cycles still hold of this part would lie beside the next
    if config.single_file:
        with watch("single"):
            parts["single"] = write_single(folder, parts, schedules[str(config.steps[0])])
    with watch("hash"):
        manifest = _manifest(job, parts)
    manifest.write(folder)
    with watch("self test"):
        return _self_tested(folder, manifest, config)


def _write_part(job: ExportJob, name: str, graph: Graph) -> Part:
    precision = getattr(job.precision, name.partition("_")[0])
    path, bits = job.folder / f"{name}.onnx", precision not in FLOATS
    wide = job.folder / f"{name}.wide.onnx" if bits else path
    number = job.config.quantise_from if bits else precision
    keep = job.calibration.beyond_half(name) if job.calibration and number == "fp16" else ()
    module: Any = cast(graph.make(), FLOATS[number], keep)
    part = export_onnx(module, graph.examples(module), wide, module.input_names, module.output_names, graph.free_shapes)
    if not bits:
        return part
    del module
    assert job.calibration is not None
    samples = along_schedule(wide, job.calibration.sources, job.schedules[str(job.config.steps[0])])
    record = quantise(wide, path, precision, samples, _eight_bits(job.config))
    record.write(job.folder / QUANTISATION)
    for leftover in (wide, wide.with_name(f"{wide.name}.data")):
        leftover.unlink(missing_ok=True)
    return replace(part, file=path.name)


def _eight_bits(config: ExportConfig) -> QuantisationOptions:
    return QuantisationOptions(config.keep, alpha=config.smoothing, rounding=config.rounding)


def _calibration(
    config: ExportConfig, source: ExportSource, graphs: dict[str, Graph], schedule: Schedule
) -> Calibration | None:
    chunk = source.chunk
    if config.calibration is not None:
        return calibrate(graphs, clips_of(config.calibration, chunk, config.calibration_batches), schedule)
    if config.precision in FLOATS:
        return None
    if config.weights == "checkpoint":
        raise InputError(f"precision={config.precision}: give calibration=DRIVE, some clips that it is scaled by")
    geometry = source.pipeline.backbone.geometry
    return random_sources((chunk.cameras, *geometry.latent_shape(chunk.frames, chunk.height, chunk.width)))


def _manifest(job: ExportJob, parts: dict[str, Part]) -> Manifest:
    source, chunk = job.source, job.source.chunk
    pipeline, folder = source.pipeline, job.folder
    if job.calibration is not None and job.calibration.ranges:
        job.calibration.write(folder)
    family: Any = source.family.name  # one that the manifest's format lists
    return Manifest(
        schema=SCHEMA,
        family=family,
        checkpoint=Checkpoint(
            name=source.name,
            transformer_sha256=weights_hash(pipeline.transformer),
            vae_sha256=weights_hash(pipeline.vae),
            prompt_sha256=prompt_hash(source.prompts.prompts),
        ),
        frames=chunk.frames,
        height=chunk.height,
        width=chunk.width,
        cameras=chunk.cameras,
        frame_rate=float(chunk.frame_rate),
        dynamic=chunk.dynamic,
        latents=pipeline.backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width),
        precision=job.precision,
        guidance=float(source.prompts.scale),
        opset=OPSET,
        schedules=job.schedules,
        default_steps=job.config.steps[0],
        parts=parts,
        files={path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != NAME},
        self_test=None,
        versions={"worldmodel": __version__} | {name: version(name) for name in ("torch", "diffusers", "onnx")},
        created=datetime.date.today().isoformat(),
        conventions=pipeline.conventions.name,
    )


def _self_tested(folder: Path, manifest: Manifest, config: ExportConfig) -> Manifest:
    """The manifest with what ONNX Runtime predicts; as it is where that cannot run or is not wanted."""
    used = {manifest.precision.encoder, manifest.precision.step, manifest.precision.decoder}
    if not config.self_test or "bf16" in used:
        return manifest
    with Predictor.open(folder) as predictor:
        predicted = predictor.predict(observed_frames(SEED, manifest.video_shape), manifest.default_steps)
    tolerance = max(TOLERANCE[precision] for precision in used)
    tested = replace(manifest, self_test=note(predicted, SEED, manifest.default_steps, tolerance))
    tested.write(folder)
    return tested


def _check(config: ExportConfig, precision: Precision) -> None:
    if config.target is not None:
        check_precision(config.target, asdict(precision))
    if precision.step not in FLOATS:
        _eight_bits(config)  # refuses values out of range before anything is loaded
    if len(set(config.steps)) != len(config.steps):
        raise InputError(f"steps={list(config.steps)}: name each number of steps once")
    if config.dynamic and config.single_file:
        raise InputError("single_file=true with dynamic=true: its loop has one size; leave one of them out")
    if config.wan_decoder == "stream" and config.single_file:
        raise InputError("single_file=true with wan_decoder=stream: one file holds one decoder; use sequence")


def _report(manifest: Manifest, sizes: dict[str, int], watch: Stopwatch, config: ExportConfig) -> str:
    chunk = f"{manifest.cameras} x {manifest.frames} frames of {manifest.height} x {manifest.width}"
    lines = [
        f"{manifest.family} {manifest.checkpoint.name}: {chunk} at {manifest.frame_rate:g} Hz, conventions "
        f"{manifest.conventions}"
    ]
    for name, part in manifest.parts.items():
        precision = getattr(manifest.precision, name.partition("_")[0], "")
        own = sum(sizes.get(file, 0) for file in (part.file, f"{part.file}.data"))
        lines.append(f"  {part.file.ljust(18)} {precision:5} {own / 1e6:9.1f} MB {watch.seconds[name]:7.1f} s")
    if manifest.self_test is None:
        reason = "not asked for" if not config.self_test else "ONNX Runtime's CPU has no bf16"
        lines.append(f"  no self test: {reason}")
    lines.append(f"written to {config.out}; run it with: worldmodel export run {config.out} VIDEO OUT.mp4")
    return "\n".join(lines)


def _headline(manifest: Manifest, sizes: dict[str, int], watch: Stopwatch, out: str) -> dict[str, object]:
    return {
        "out": out,
        "family": manifest.family,
        "precision": [manifest.precision.encoder, manifest.precision.step, manifest.precision.decoder],
        "guidance": manifest.guidance,
        "conventions": manifest.conventions,
        "megabytes": round(sum(sizes.values()) / 1e6, 3),
        "seconds": watch.seconds,
        "peak_memory_mb": peak_memory_mb(torch.device("cpu")),
        "self_test": manifest.self_test is not None,
    }
