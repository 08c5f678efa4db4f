"""`worldmodel export run`: an artifact on videos, without torch, Hydra or diffusers.

Shape legend: B cameras, F frames, G predicted frames, H height, W width, C colours (3).
"""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import open_backend
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import SelfTestResult
from worldmodel.export.runtime.video import ARRAYS, VIDEOS, read_frames, write_video
from worldmodel.files import written_whole
from worldmodel.measure.report import publish
from worldmodel.settings import Count, Seconds, Settings, Text
from worldmodel.version import __version__


@dataclass(frozen=True)
class RunConfig(Settings):
    """What to predict from, with what, and where to put it.

    Attributes:
        artifact: folder that `worldmodel export` wrote.
        videos: one video for each camera of the artifact, in its order; cut at the centre, scaled and resampled to
            the artifact's size and frame rate.
        out: one camera: a video (.mp4, .mkv, .mov); several: a folder of videos; either: .npy, the exact pixels
            [cameras, frames, height, width, 3].
        backend: what runs the graphs; tensorrt needs `worldmodel export build` on this machine first.
        device: of onnxruntime.
        threads: of onnxruntime on the CPU; by default one a core.
        cuda_graph: of tensorrt, record the step once and replay it.
        steps: network evaluations a chunk; by default the artifact's.
        chunks: how many times the prediction goes on, each time from its own.
        feed: what the next chunk starts from: the predicted frames, encoded again, or the predicted latents.
        start: seconds from the first frame to the first observed one.
        prompt_sha256: the prompt that must be baked into the artifact; by default any.
        self_test: first predict what the artifact predicted where it was made, and stop if it differs.
        overwrite: replace `out`.
    """

    artifact: Text
    videos: tuple[Text, ...]
    out: Text
    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count | None = None
    cuda_graph: bool = False
    steps: Count | None = None
    chunks: Count = 1
    feed: Literal["frames", "latents"] = "frames"
    start: Seconds = 0.0
    prompt_sha256: Text | None = None
    self_test: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class RunResult:
    """What was predicted, by what, and what it took; the fields are the keys of the JSON line.

    Attributes:
        frames: predicted for each camera, of `size` (H, W).
        calls, seconds: by part.
        video_seconds: how long the prediction lasts.
        self_test: None where it was not asked for; the JSON line lacks it then.
    """

    out: str
    artifact: str
    checkpoint: str
    backend: str
    precision: Precision
    cameras: int
    frames: int
    size: tuple[int, int]
    steps: int
    chunks: int
    feed: str
    calls: dict[str, int]
    seconds: dict[str, float]
    video_seconds: float
    versions: dict[str, str]
    self_test: SelfTestResult | None

    def headline(self) -> dict[str, object]:
        """For programs."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def run(config: RunConfig) -> RunResult:
    """Predict and write; print what it took, the last line as JSON.

    Raises:
        InputError: an artifact, backend, video or place that cannot be used. Nothing is left behind then.
    """
    artifact = Artifact.open(config.artifact, config.prompt_sha256)
    check(config, artifact.manifest)
    with Predictor(artifact, open_backend(config.backend, artifact, **backend_options(config))) as predictor:
        tested = self_tested(predictor) if config.self_test else None
        observed_BFHWC = observed(config, artifact.manifest)
        predictor.restart_counts()
        predicted_BGHWC = predictor.rollout(observed_BFHWC, config.chunks, config.feed, config.steps)
    write(config, predicted_BGHWC, artifact.manifest.frame_rate)
    result = result_of(config, predictor, predicted_BGHWC.shape, tested)
    publish(table(result), result.headline())
    return result


def check(config: RunConfig, manifest: Manifest) -> None:
    """Raise `InputError` for what can be refused before anything is loaded."""
    out, cameras = Path(config.out), len(config.videos)
    if not manifest.dynamic and cameras != manifest.cameras:
        raise InputError(f"videos: {cameras} given, this artifact takes {manifest.cameras} cameras; give one for each")
    if not cameras:
        raise InputError("videos: none given; give one for each camera")
    if out.suffix not in ARRAYS and (out.suffix in VIDEOS) != (cameras == 1):
        wanted = "a name ending in .mp4" if cameras == 1 else "a folder"
        raise InputError(f"out={out}: for {cameras} camera(s) give {wanted}, or a name ending in .npy")
    if out.exists() and not config.overwrite:
        raise InputError(f"out={out}: exists already; choose another name or say overwrite=true")
    check_replaced(out)
    manifest.schedule(config.steps)


def check_replaced(out: Path) -> None:
    """Raise `InputError` where what is to be overwritten is no earlier prediction of this kind."""
    wants_file = out.suffix in VIDEOS + ARRAYS
    if out.exists() and out.is_dir() == wants_file:
        raise InputError(f"out={out}: is a {'folder' if wants_file else 'file'}; choose another name")
    others = [path.name for path in out.iterdir() if path.suffix != ".mp4"] if out.is_dir() else []
    if others:
        raise InputError(f"out={out}: holds {others[0]}, which is no prediction; choose another folder")


def backend_options(config: RunConfig) -> dict[str, object]:
    """What the chosen backend is to be told."""
    if config.backend == "tensorrt":
        return {"cuda_graph": config.cuda_graph}
    return {"device": config.device, "threads": config.threads}


def observed(config: RunConfig, manifest: Manifest) -> np.ndarray:
    """uint8 [B, F, H, W, 3] of the videos."""
    size = manifest.height, manifest.width
    clips = [read_frames(video, manifest.frames, size, manifest.frame_rate, config.start) for video in config.videos]
    return np.stack(clips)


def self_tested(predictor: Predictor) -> SelfTestResult:
    """The self-test's result; `InputError` where this machine does not compute what the artifact's maker did."""
    result = predictor.self_test()
    if not result.passed:
        raise InputError(
            f"{predictor.artifact.folder}: the self-test fails here, blocks differ by up to {result.difference:g} of"
            " 255; use another backend or precision, or build the engines again"
        )
    return result


def write(config: RunConfig, predicted_BGHWC: np.ndarray, frame_rate: float) -> None:
    """The prediction as `out` says."""
    out = Path(config.out)
    if out.suffix in ARRAYS:
        write_video(out, predicted_BGHWC, frame_rate)
    elif out.suffix in VIDEOS:
        write_video(out, predicted_BGHWC[0], frame_rate)
    else:
        write_folder(config, out, predicted_BGHWC, frame_rate)


def write_folder(config: RunConfig, out: Path, predicted_BGHWC: np.ndarray, frame_rate: float) -> None:
    """`0_<name of the first video>.mp4` and so on."""
    with written_whole(out) as partial:
        partial.mkdir()
        for camera, (video, frames_GHWC) in enumerate(zip(config.videos, predicted_BGHWC, strict=True)):
            write_video(partial / f"{camera}_{Path(video).stem}.mp4", frames_GHWC, frame_rate)
        for earlier in out.glob("*.mp4"):
            earlier.unlink()


def result_of(
    config: RunConfig, predictor: Predictor, shape: tuple[int, ...], self_test: SelfTestResult | None
) -> RunResult:
    """The result of a run whose prediction has this shape, [B, G, H, W, 3]."""
    manifest = predictor.artifact.manifest
    cameras, frames, height, width, _ = shape
    return RunResult(
        out=config.out,
        artifact=config.artifact,
        checkpoint=manifest.checkpoint.name,
        backend=config.backend,
        precision=manifest.precision,
        cameras=cameras,
        frames=frames,
        size=(height, width),
        steps=config.steps or manifest.default_steps,
        chunks=config.chunks,
        feed=config.feed,
        calls=dict(predictor.calls),
        seconds={part: round(seconds, 4) for part, seconds in predictor.seconds.items()},
        video_seconds=round(frames / manifest.frame_rate, 3),
        versions={"python": platform.python_version(), "worldmodel": __version__, "numpy": np.__version__},
        self_test=self_test,
    )


def table(result: RunResult) -> str:
    """Calls and seconds a part, and the sum beside the length of what was predicted."""
    rows = [f"{'part':<14}{'calls':>6}{'seconds':>10}"]
    rows += [f"{part:<14}{result.calls[part]:>6}{seconds:>10.3f}" for part, seconds in result.seconds.items()]
    total = sum(result.seconds.values())
    rows.append(f"{'all':<14}{'':>6}{total:>10.3f}   for {result.video_seconds:g} s of video")
    rows.append(f"{result.out}: {result.frames} frames of {result.cameras} camera(s)")
    return "\n".join(rows)
