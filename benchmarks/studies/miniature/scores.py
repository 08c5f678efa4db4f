"""Scores of one trained run on held-out clips, for several numbers of evaluations, along the horizon, over its steps.

Shape legend: K clips, F frames of a chunk, H height, W width, 3 colours; C f h w are latents; T tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor

from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.measure.frame_scores import psnr_per_frame, repeat_last
from worldmodel.measure.report import Record
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import signed_from_uint8, to_uint8, unit_from_signed
from worldmodel.training.attention import fastest_attention
from worldmodel.training.checkpoints import checkpoints_of

EVALUATIONS = (1, 2, 5, 6, 10, 40)
CHUNKS = 2  # of the rollout


@dataclass
class HeldOut:
    """Clips of one camera each: an observed chunk and the `CHUNKS` chunks after it, with the latents of all."""

    observed_KFCHW: UInt8[Tensor, "K F 3 H W"]
    future_KGCHW: UInt8[Tensor, "K G 3 H W"]
    observed_KCfhw: Float[Tensor, "K C f h w"]
    future_KCfhw: Float[Tensor, "K C f h w"]
    frame_rate: float

    @property
    def frames(self) -> int:
        """Of one chunk."""
        return self.observed_KFCHW.shape[1]


@torch.no_grad()
def held_out(root: Path, pipeline: FlowFramesPipeline, size: tuple[int, int], clips: int) -> HeldOut:
    """About `clips` clips spread over all validation scenes and cameras."""
    pairs = chunk_pairs(
        open_index(root, "v1.0-toy"), split="val", observed_frames=17, future_frames=17 * CHUNKS, stride=17, size=size
    )
    cameras = len(pairs.cameras)
    picked = np.linspace(0, len(pairs) * cameras - 1, clips).round().astype(int)
    chosen = [(pairs[int(number) // cameras], int(number) % cameras) for number in picked]
    observed = torch.stack([pair.observed_NFCHW[camera] for pair, camera in chosen])
    future = torch.stack([pair.future_NGCHW[camera] for pair, camera in chosen])
    encoded = [_encoded(pipeline, video) for video in (observed, future[:, :17])]
    return HeldOut(observed, future, encoded[0], encoded[1], chosen[0][0].frame_rate)


def _encoded(pipeline: FlowFramesPipeline, video_KFCHW: Tensor) -> Tensor:
    chunks = [signed_from_uint8(chunk_FCHW[None]).transpose(1, 2) for chunk_FCHW in video_KFCHW]
    return torch.cat([pipeline.backbone.encode(chunk).mean_BCfhw for chunk in chunks])


def score_run(out: Path, pipeline_class: type[FlowFramesPipeline], clips: HeldOut) -> Record:
    """All figures of a finished run."""
    pipeline = pipeline_class.from_pretrained(out / "pipeline", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with half_precision():
        scores: Record = {
            "by_evaluations": {str(number): chunk_scores(pipeline, clips, number) for number in EVALUATIONS},
            "psnr_db_by_frame": rollout_psnr(pipeline, clips, 5),
        }
    return scores | {"by_step": scores_by_step(pipeline, out, clips)}


def scores_by_step(pipeline: FlowFramesPipeline, out: Path, clips: HeldOut) -> dict[str, dict[str, float]]:
    """Scores at 5 evaluations of the averaged weights in each checkpoint of a run."""
    by_step = {}
    for folder in checkpoints_of(out):
        _put_average(pipeline, folder)
        with half_precision():
            by_step[str(int(folder.name.partition("-")[2]))] = chunk_scores(pipeline, clips, 5)
    return by_step


@contextmanager
def half_precision() -> Iterator[None]:
    """bfloat16 on the CPU. Anew for each set of weights: autocast keeps the ones that it has cast before."""
    with fastest_attention(torch.device("cpu")), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def _put_average(pipeline: FlowFramesPipeline, folder: Path) -> None:
    averaged = load_file(folder / "average.safetensors")
    prefix = "transformer."
    pipeline.transformer.load_state_dict(
        {name.removeprefix(prefix): tensor for name, tensor in averaged.items()}, strict=False
    )


def chunk_scores(pipeline: FlowFramesPipeline, clips: HeldOut, evaluations: int) -> dict[str, float]:
    """Of the first predicted chunk: mean PSNR, how sharp against the truth, Fréchet distance of latent tokens, and the
    length of the path over the distance between its ends (mean over clips; 1 is a straight line)."""
    path = [pipeline._source(clips.observed_KCfhw, None)]

    def note(_pipe: object, _step: int, _time: Tensor, given: dict[str, Tensor]) -> None:
        path.append(given["latents"].float())

    pipeline(
        latents=clips.observed_KCfhw, num_inference_steps=evaluations, frame_rate=clips.frame_rate,
        output_type="latent", callback_on_step_end=note,
    )  # fmt: skip
    truth = clips.future_KGCHW[:, : clips.frames]
    frames = torch.cat([_decoded(pipeline, latents[None]) for latents in path[-1]])
    return {
        "psnr_db": round(float(psnr_per_frame(frames, truth).mean()), 3),
        "sharpness": round(float(edges(frames) / edges(truth)), 4),
        "latent_frechet": round(latent_frechet(path[-1], clips.future_KCfhw), 4),
        "straightness": round(straightness(path), 4),
    }


def straightness(path: list[Float[Tensor, "K C f h w"]]) -> float:
    """Length of a path over the distance between its ends, mean over clips."""
    length = sum(_distance(a, b) for a, b in zip(path[:-1], path[1:], strict=True))
    return float((length / _distance(path[-1], path[0])).mean())


def _decoded(pipeline: FlowFramesPipeline, latents: Tensor) -> UInt8[Tensor, "B F 3 H W"]:
    with torch.no_grad():
        return to_uint8(unit_from_signed(pipeline.backbone.decode(latents).float()).transpose(1, 2))


def edges(video: UInt8[Tensor, "K F 3 H W"]) -> Tensor:
    """Mean absolute difference of neighbouring pixels."""
    values = video.float()
    return (values.diff(dim=-1).abs().mean() + values.diff(dim=-2).abs().mean()) / 2


def latent_frechet(one: Float[Tensor, "K C f h w"], other: Float[Tensor, "K C f h w"]) -> float:
    """Fréchet distance between the Gaussians of all latent tokens; of the toy model's own VAE, so no FID or FVD."""
    (mean_1, root_1), (mean_2, root_2) = (_gaussian(latents) for latents in (one, other))
    overlap = torch.linalg.svdvals(root_1.T @ root_2).sum()
    spread = root_1.square().sum() + root_2.square().sum() - 2 * overlap
    return float((mean_1 - mean_2).square().sum() + spread)


def _gaussian(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and a root L of the covariance, S = L L^T, in float64."""
    tokens_TC = latents.movedim(1, -1).flatten(0, -2).double()
    values, vectors = torch.linalg.eigh(tokens_TC.T.cov())
    return tokens_TC.mean(0), vectors * values.clamp(min=0).sqrt()


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).flatten(1).norm(dim=1)


def rollout_psnr(pipeline: FlowFramesPipeline, clips: HeldOut, evaluations: int) -> list[float]:
    """Mean PSNR of each frame of a rollout of `CHUNKS` chunks."""
    rows = []
    for observed, future in zip(clips.observed_KFCHW, clips.future_KGCHW, strict=True):
        output: Any = pipeline.rollout(
            observed[None], CHUNKS, num_inference_steps=evaluations, frame_rate=clips.frame_rate
        )
        rows.append(psnr_per_frame(to_uint8(output.frames), future[None])[0])
    return np.mean(rows, axis=0).round(3).tolist()


def baseline(clips: HeldOut) -> Record:
    """Repeating the last observed frame."""
    repeated = repeat_last(clips.observed_KFCHW, clips.future_KGCHW.shape[1])
    by_frame = psnr_per_frame(repeated, clips.future_KGCHW).mean(axis=0)
    return {
        "psnr_db": round(float(by_frame[: clips.frames].mean()), 3),
        "psnr_db_by_frame": by_frame.round(3).tolist(),
        "latent_frechet": round(latent_frechet(clips.observed_KCfhw, clips.future_KCfhw), 4),
    }
