"""How well the shipped tiny model predicts scenes of the toy world that it was not trained on.

    python -m worldmodel.benchmarks.studies.tiny_model [--root data/toyworld] [--checkpoint tiny] [--keep]

Every camera of every validation scene, cut into observed and future chunks of the trained length. For each number of
evaluations: PSNR and SSIM over all future frames, beside repeating the last frame (the baseline) and the truth sent
through the VAE (the upper bound). Scores are means over frames of each frame's own score.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.pairs import PixelPair
from worldmodel.measure import machine
from worldmodel.measure.frame_scores import FrameScores, frame_scores, repeat_last
from worldmodel.measure.report import Record, table_of
from worldmodel.models.checkpoint import checkpoint_hashes, trained_chunk
from worldmodel.models.families import family_of
from worldmodel.models.open import open_pipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.models.round_trip import vae_round_trip
from worldmodel.pixels import to_uint8

EVALUATIONS = (1, 2, 5, 10, 40)


def scores_of_pair(pipeline: FlowFramesPipeline, pair: PixelPair, numbers: tuple[int, ...]) -> dict[str, FrameScores]:
    """Scores of one pair's cameras by method."""
    frames = pair.observed_NFCHW.shape[1]
    videos = {
        "repeat last": repeat_last(pair.observed_NFCHW, frames),
        "VAE round trip": vae_round_trip(pipeline.backbone, pair.future_NGCHW, frames),
    }
    for number in numbers:
        output: Any = pipeline(pair.observed_NFCHW, num_inference_steps=number, frame_rate=pair.frame_rate)
        videos[f"flowframes, {number} NFE"] = to_uint8(output.frames)
    return {name: frame_scores(video, pair.future_NGCHW) for name, video in videos.items()}


def measure(root: Path, checkpoint: str | Path, numbers: tuple[int, ...], every: int = 1) -> Record:
    """Scores by method, in all and by scene, of the validation scenes at `root`; of every so manieth pair."""
    pipeline = open_pipeline(checkpoint)
    length, size = trained_chunk(checkpoint, family_of(pipeline.backbone))
    index = open_index(root, "v1.0-toy")
    pairs = chunk_pairs(index, split="val", observed_frames=length, future_frames=length, stride=2 * length, size=size)
    scores: dict[str, dict[str, list[FrameScores]]] = {}
    began = time.perf_counter()
    taken = range(0, len(pairs), every)
    for number in taken:
        for name, score in scores_of_pair(pipeline, pairs[number], numbers).items():
            scores.setdefault(name, {}).setdefault(pairs.scene(number), []).append(score)
    return {
        "clips": len(taken) * len(pairs.cameras),
        "scenes": sorted({pairs.scene(number) for number in taken}),
        "frames": length,
        "size": list(size),
        "seconds": round(time.perf_counter() - began, 1),
        "methods": {name: _summary(scenes) for name, scenes in scores.items()},
    }


def _summary(scenes: dict[str, list[FrameScores]]) -> Record:
    everything = [score for scores in scenes.values() for score in scores]
    return {
        "psnr_db": _mean([score.psnr_NT for score in everything]),
        "ssim": _mean([score.ssim_NT for score in everything], 4),
        "psnr_db_by_scene": {name: _mean([score.psnr_NT for score in scores]) for name, scores in scenes.items()},
        "psnr_db_by_frame": np.concatenate([score.psnr_NT for score in everything]).mean(axis=0).round(2).tolist(),
    }


def _mean(values: list[np.ndarray], digits: int = 2) -> float:
    return round(float(np.concatenate(values).mean()), digits)


def main() -> None:
    """Measure, print, and with --keep write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/toyworld"), help="toy world with a validation split")
    parser.add_argument("--checkpoint", default="tiny", help="a shipped one by name, or the folder of a pipeline")
    parser.add_argument("--every", type=int, default=1, help="take one chunk pair of so many, to save time")
    parser.add_argument("--keep", action="store_true", help="write the result to benchmarks/results")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    result = measure(arguments.root, arguments.checkpoint, EVALUATIONS, arguments.every)
    result |= {**checkpoint_hashes(arguments.checkpoint, None), "machine": machine.describe(("torch", "diffusers"))}
    baseline = result["methods"]["repeat last"]["psnr_db"]
    rows = [
        {
            "method": name,
            "PSNR (dB) ↑": scores["psnr_db"],
            "above repeating (dB)": round(scores["psnr_db"] - baseline, 2),
            "SSIM ↑": scores["ssim"],
        }
        for name, scores in result["methods"].items()
    ]
    head = f"{result['clips']} clips of {len(result['scenes'])} held-out toy scenes, {result['frames']} future frames"
    publish("tiny_model", f"{head} at {result['size']}.\n\n{table_of(rows)}", result, arguments.keep)


if __name__ == "__main__":
    main()
