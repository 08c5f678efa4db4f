"""Predict what the cameras of a drive see next, and keep everything that was made and how.

    from worldmodel.cli.commands.predict import PredictConfig, predict
    result = predict(PredictConfig(source="drive.mp4", out="outputs/drive"))

Shape legend: N cameras, F observed frames, G predicted frames, T frames with a truth, C colours (3), H height, W width.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.cli.commands.predict_report import headline, report
from worldmodel.conventions import ConventionsName
from worldmodel.datasets.pairs import PixelPair
from worldmodel.files import new_folder
from worldmodel.measure.frame_scores import FrameScores, frame_scores, repeat_last
from worldmodel.measure.machine import device_name, versions
from worldmodel.measure.memory import peak_memory_mb
from worldmodel.measure.report import publish
from worldmodel.measure.timing import Stopwatch
from worldmodel.models.checkpoint import checkpoint_hashes, trained_chunk
from worldmodel.models.families import ChunkSize, Family, family_of
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.open import open_pipeline
from worldmodel.models.round_trip import vae_round_trip
from worldmodel.pixels import to_uint8
from worldmodel.settings import Count, Device, NotNegative, Positive, Seconds, Seed, Settings, Size, Text
from worldmodel.viewing import Rollout, contact_sheet, write_frames, write_recording, write_video

if TYPE_CHECKING:
    from worldmodel.models.pipeline import FlowFramesPipeline
    from worldmodel.models.rollout import FlowFramesOutput

METHOD, REPEAT, CEILING = "flowframes", "repeat last", "VAE round trip"


@dataclass(frozen=True)
class PredictConfig(Settings):
    """What to predict from, with what, and where to put it.

    Attributes:
        source: a nuScenes root (any version, any picture size), a video file, a folder of videos (a rig) or a folder
            of images.
        out: folder for the results; it appears when it is complete.
        version: tables of a nuScenes root, for example v1.0-mini; may be left out where there is only one.
        scene: name of a nuScenes scene; the first by default.
        cameras: which cameras in which order, all by default; in a folder of videos file names, or NAME:file_name.
        start: seconds from the first frame to the first observed one. Where nuScenes misses a frame there, the next
            possible frame begins, and the report says so.
        frames: frames that the model sees and predicts at once; by default as many as it was trained on, else 17.
        chunks: how many times the prediction goes on, each time from its own frames.
        steps: network evaluations per chunk.
        guidance: scale of classifier-free guidance; the checkpoint's own by default, and a no-op without a prompt.
        prompt, negative_prompt: text, for checkpoints that hold a text encoder.
        feed: what the next chunk starts from: the predicted frames, encoded again, or the predicted latents.
        checkpoint: a shipped one by name (tiny), the folder of a saved pipeline, official weights, or a hub id.
        transformer: folder of one that was trained alone; it takes the place of the checkpoint's own.
        conventions: paper, or published for what FlowC2S's code computes (docs/parity.md); the checkpoint's own by
            default. decode_timestep, decode_noise_scale, fixed_rate: single choices among them: what an LTX decoder is
            told, and the frames per second that the network is told whatever the source's.
        size: height and width that the model sees; by default those it was trained on, else the paper's (256 x 384,
            Wan 240 x 416). Pictures are cut at the centre to this aspect and scaled.
        resample: how pictures come to that size: area, or vista, which cuts at full size and scales by LANCZOS; as the
            conventions say by default.
        frame_rate: frames per second that a video is resampled to (12 by default); nuScenes keeps its own.
        image_rate: frames per second at which a folder of images was taken (12 by default).
        video_reader: pyav, or decord (extra `decord`), which refuses the videos it is known to read wrongly.
        device: auto, cpu, cuda or cuda:N.
        seed: for the little noise of LTX decoders and for what published conventions and the noise-conditioned design
            draw; else a prediction draws none.
        save_frames: format of the predicted frames, one folder per camera, lossless; none writes none.
        ceiling: score the truth sent through the VAE and back as well.
        overwrite: replace an earlier prediction in `out`.
    """

    source: Text
    out: Text = "outputs/prediction"
    version: Text | None = None
    scene: Text | None = None
    cameras: tuple[Text, ...] = ()
    start: Seconds = 0.0
    frames: Count | None = None
    chunks: Count = 2
    steps: Count = 5
    guidance: NotNegative | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    feed: Literal["frames", "latents"] = "frames"
    checkpoint: Text = "tiny"
    transformer: Text | None = None
    conventions: ConventionsName | None = None
    decode_timestep: NotNegative | None = None
    decode_noise_scale: NotNegative | None = None
    fixed_rate: Positive | None = None
    size: Size | None = None
    resample: Literal["area", "vista"] | None = None
    frame_rate: Positive | None = None
    image_rate: Positive | None = None
    video_reader: Literal["pyav", "decord"] = "pyav"
    device: Device = "auto"
    seed: Seed = 0
    save_frames: Literal["png", "webp", "none"] = "png"
    ceiling: bool = False
    overwrite: bool = False


def predict(config: PredictConfig) -> dict[str, Any]:
    """Predict, write frames, film, recording, contact sheet and `prediction.json`, print scores; the last line is JSON.

    Where the source goes on after the observed frames, it is the truth that the prediction is scored against.

    Returns:
        What `prediction.json` holds.

    Raises:
        InputError: a source, checkpoint, size, device or folder that cannot be used. Nothing is left behind then.
    """
    with new_folder(Path(config.out), "prediction", "prediction.json", config.overwrite) as folder:
        result = _predict_into(folder, config)
        (folder / "prediction.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    publish(report(result), headline(result))
    return result


def _predict_into(folder: Path, config: PredictConfig) -> dict[str, Any]:
    from worldmodel.datasets.sources import open_source  # reads videos and pictures, which others here do not

    watch = Stopwatch()
    drive = open_source(
        config.source, config.version, config.scene, config.cameras, config.image_rate, config.video_reader
    )
    with watch("load model"):
        pipeline = open_pipeline(
            config.checkpoint, config.transformer, config.conventions, device=config.device,
            decode_timestep=config.decode_timestep, decode_noise_scale=config.decode_noise_scale,
            fixed_rate=config.fixed_rate,
        )  # fmt: skip
        frames, size = chunk_of(config, family_of(pipeline.backbone))
        config = replace(config, frames=frames, size=size)
        pipeline.backbone.geometry.check(frames, *size)
    resample = config.resample or pipeline.conventions.sampling.resample
    with watch("read frames"):
        pair = drive.chunk(config.start, frames, config.chunks * frames, size, config.frame_rate, resample)
    with watch("predict"):
        output = cast(
            "FlowFramesOutput",
            pipeline.rollout(
                pair.observed_NFCHW,
                chunks=config.chunks,
                feed=config.feed,
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                prompt=config.prompt,
                negative_prompt=config.negative_prompt,
                frame_rate=pair.frame_rate,
                generator=torch.Generator().manual_seed(config.seed),
                vae_batch_size=1,
            ),
        )
        predicted_NGCHW = to_uint8(output.frames)
    with watch("score"):
        scores = score_methods(pair, predicted_NGCHW, pipeline if config.ceiling else None, method_of(pipeline))
    result = _settings(config, pair, pipeline) | {
        "evaluations": asdict(output.evaluations),
        "scores": {method: score.summary(pair.cameras) for method, score in scores.items()},
        "scores_first_chunk": {
            method: score.of_frames(frames).summary(pair.cameras) for method, score in scores.items()
        },
        "psnr_db_per_frame": {m: score.psnr_NT.mean(axis=0).round(3).tolist() for m, score in scores.items()},
    }
    with watch("write"):
        result["files"] = write_outputs(folder, pair, predicted_NGCHW, result, config.save_frames)
    return result | {"seconds": watch.seconds, "peak_memory_mb": peak_memory_mb(pipeline.device)}


def chunk_of(config: PredictConfig, family: Family) -> ChunkSize:
    """Frames, and height and width, of a chunk: as asked for, else as trained."""
    if config.frames and config.size:
        return config.frames, config.size
    frames, size = trained_chunk(config.checkpoint, family)
    return config.frames or frames, config.size or size


def method_of(pipeline: "FlowFramesPipeline") -> str:
    """The name under which results show what this pipeline predicts."""
    return "noise_conditioned" if isinstance(pipeline, NoiseConditionedPipeline) else METHOD


def score_methods(
    pair: PixelPair,
    predicted_NGCHW: UInt8[Tensor, "N G 3 H W"],
    ceiling: "FlowFramesPipeline | None",
    method: str = METHOD,
) -> dict[str, FrameScores]:
    """Scores of the prediction, of repeating the last frame and, given the pipeline, of its VAE; {} without truth."""
    truth_NTCHW = pair.future_NGCHW[:, : predicted_NGCHW.shape[1]]
    frames = truth_NTCHW.shape[1]
    if frames == 0:
        return {}
    methods = {method: predicted_NGCHW[:, :frames], REPEAT: repeat_last(pair.observed_NFCHW, frames)}
    if ceiling is not None:
        passed_NTCHW = vae_round_trip(ceiling.backbone, truth_NTCHW, pair.observed_NFCHW.shape[1])
        methods |= {CEILING: passed_NTCHW} if passed_NTCHW.shape[1] else {}
    return {name: frame_scores(video, truth_NTCHW[:, : video.shape[1]]) for name, video in methods.items()}


def write_outputs(
    folder: Path,
    pair: PixelPair,
    predicted_NGCHW: UInt8[Tensor, "N G 3 H W"],
    settings: dict[str, Any],
    save_frames: str,
) -> dict[str, str]:
    """Recording, film, sheet and frames of a rollout; returns their names in `folder`."""
    shown = ("source", "checkpoint", "checkpoint_sha256", "start_s", "chunks", "steps", "evaluations", "frame_rate")
    method = settings.get("method", METHOD)
    rollout = Rollout.of_pair(pair, {method: predicted_NGCHW}, {key: settings[key] for key in shown})
    write_recording(folder / "rollout.rrd", rollout)
    write_video(folder / "rollout.mp4", rollout, method)
    contact_sheet(rollout, method, folder / "sheet.png")
    files = {"recording": "rollout.rrd", "film": "rollout.mp4", "sheet": "sheet.png"}
    if save_frames == "none":
        return files
    for camera, video_GCHW in zip(pair.cameras, predicted_NGCHW, strict=True):
        write_frames(folder / "frames" / camera, video_GCHW, save_frames)
    return files | {"frames": "frames"}


def _settings(config: PredictConfig, pair: PixelPair, pipeline: "FlowFramesPipeline") -> dict[str, Any]:
    from worldmodel.datasets.video_source import repeated_frames

    frames = pair.observed_NFCHW.shape[1]
    return {
        "scene": pair.scene,
        "source": config.source,
        "out": config.out,
        "cameras": list(pair.cameras),
        "size": list(pair.observed_NFCHW.shape[-2:]),
        "frame_rate": pair.frame_rate,
        "start_s": config.start,
        "observed_frames": frames,
        "predicted_frames": config.chunks * frames,
        "truth_frames": pair.future_NGCHW.shape[1],
        "repeated_frames": repeated_frames(pair),
        "notes": list(pair.notes),
        "first_observed_time_s": pair.times_s[:, 0].tolist(),
        "last_observed_time_s": pair.times_s[:, frames - 1].tolist(),
        "chunks": config.chunks,
        "steps": config.steps,
        "checkpoint": config.checkpoint,
        **checkpoint_hashes(config.checkpoint, config.transformer),
        "method": method_of(pipeline),
        "conventions": pipeline.conventions.name,
        "resample": config.resample or pipeline.conventions.sampling.resample,
        "network_frame_rate": pipeline.network_rate(pair.frame_rate),
        "device": device_name(pipeline.device),
        "versions": versions(),
        "config": asdict(config),
    }
