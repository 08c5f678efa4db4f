"""Rerun recordings of the best, the median and the worst clip, all methods side by side, for a look.

Shape legend: N cameras, G predicted frames, H height, W width, 3 colours.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from worldmodel.benchmarks.suites.context import EvalContext
from worldmodel.benchmarks.suites.folder import BenchmarkFolder
from worldmodel.files import written_whole


def write_recordings(context: EvalContext, folder: BenchmarkFolder, labels: list[str]) -> list[Path]:
    """One file each, ranked by the PSNR of the first row. Frames of other sizes are resized to that row's."""
    from worldmodel.viewing.recording import write_recording
    from worldmodel.viewing.rollout import Rollout

    first = folder.row(labels[0])
    pairs = context.pairs(tuple(first.metadata()["spec"]["size"]))
    written = []
    for name, number in chosen(folder, labels[0], context.numbers).items():
        pair = pairs[number]
        videos = {label: folder.row(label).predictions.read(number)[0] for label in labels}
        size = tuple(pair.observed_NFCHW.shape[-2:])
        predicted = {label: resized(video, size) for label, video in videos.items()}
        settings = {"clip": number, "clips": context.clips.label, "rank": f"{name} by PSNR of {labels[0]}"}
        rollout = Rollout.of_pair(pair, predicted, settings, chunk_frames=videos[labels[0]].shape[1] // context.chunks)
        path = folder.out / "recordings" / f"{name}.rrd"
        with written_whole(path, ".rrd") as part:
            write_recording(part, rollout)
        written.append(path)
    return written


def chosen(folder: BenchmarkFolder, label: str, numbers: list[int]) -> dict[str, int]:
    """Clip numbers by `best`, `median`, `worst`; of a clip or two only the first of these."""
    means = [float(folder.row(label).scores.read(number)["PSNR"].mean()) for number in numbers]
    order = np.argsort(means, kind="stable")[::-1]
    places = {"best": 0, "median": (len(order) - 1) // 2, "worst": len(order) - 1}
    numbers_by_rank: dict[str, int] = {}
    for name, place in places.items():
        number = numbers[int(order[place])]
        if number not in numbers_by_rank.values():
            numbers_by_rank[name] = number
    return numbers_by_rank


def resized(video: UInt8[Tensor, "N G 3 H W"], size: tuple[int, ...]) -> UInt8[Tensor, "N G 3 h w"]:
    """Antialiased bilinear."""
    if tuple(video.shape[-2:]) == size:
        return video
    flat = video.flatten(0, 1).float()
    smaller = functional.interpolate(flat, size=list(size), mode="bilinear", antialias=True)
    return smaller.round().clamp(0, 255).to(torch.uint8).unflatten(0, video.shape[:2])
