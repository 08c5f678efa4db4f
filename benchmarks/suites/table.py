"""From scores by clip to the rows of a table: means, their spread, and what they are by camera, frame and chunk.

Shape legend: K clips, N cameras, G predicted frames.
"""

import numpy as np

from worldmodel.benchmarks.suites.folder import RowFolder
from worldmodel.benchmarks.suites.results import Figure, Measure, Row

DRAWS = 1000
SPREAD = f"one standard error over clips (bootstrap, {DRAWS} draws)"
MEASURES = {
    "psnr_db": Measure("dB", "higher", SPREAD, {"what": "of each 8-bit frame, then the mean", "equal frames": 100}),
    "ssim": Measure("", "higher", SPREAD, {"what": "torchmetrics, Gaussian window of 11, on RGB, then the mean"}),
}


def row_of(label: str, folder: RowFolder, numbers: list[int], cameras: list[tuple[str, ...]], chunks: int) -> Row:
    """One row's figures, added up in the order of the list."""
    said, scores = folder.said(), [folder.scores.read(number) for number in numbers]
    _, cost = folder.predictions.read(numbers[0])
    figures, by_camera, by_frame, by_chunk = {}, {}, {}, {}
    for name in MEASURES:
        values = [score[name].numpy() for score in scores]
        means_K = np.array([value.mean() for value in values])
        figures[name] = Figure(float(means_K.mean()), bootstrap(means_K))
        by_camera[name] = camera_means(values, cameras)
        frames_G = np.mean([value.mean(axis=0) for value in values], axis=0)
        by_frame[name] = frames_G.tolist()
        if chunks > 1:
            by_chunk[name] = [float(part.mean()) for part in np.split(frames_G, chunks)]
            figures |= {f"{name} drift": Figure(drift(by_chunk[name]))}
    evaluations = {"guided_evals": cost.guided_evals, "forward_calls": cost.forward_calls, "batch": cost.forward_batch}
    return Row(label, said["spec"], said["weights"], evaluations, figures, by_camera, by_frame, by_chunk)


def bootstrap(means_K: np.ndarray, seed: int = 0) -> float:
    """Standard error of the mean over clips, which are drawn anew with replacement."""
    draws = np.random.default_rng(seed).integers(0, len(means_K), (DRAWS, len(means_K)))
    return float(means_K[draws].mean(axis=1).std(ddof=1))


def camera_means(values: list[np.ndarray], cameras: list[tuple[str, ...]]) -> dict[str, float]:
    """Mean of every camera over clips and frames; `values` are [N, G]."""
    found: dict[str, list[float]] = {}
    for value, names in zip(values, cameras, strict=True):
        for name, own in zip(names, value, strict=True):
            found.setdefault(name, []).append(float(own.mean()))
    return {name: float(np.mean(own)) for name, own in sorted(found.items())}


def drift(chunks: list[float]) -> float:
    """Change of a figure per chunk of a rollout: the slope of the least-squares line over the chunks' numbers."""
    return float(np.polyfit(np.arange(len(chunks)), chunks, 1)[0])


def drift_measures(measures: dict[str, Measure]) -> dict[str, Measure]:
    """What `row_of` adds for rollouts."""
    what = {"what": "change per chunk of the rollout, slope of the least-squares line"}
    return {f"{name} drift": Measure(one.unit, one.better, "", what) for name, one in measures.items()}
