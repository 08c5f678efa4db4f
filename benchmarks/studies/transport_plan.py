"""Which chunk optimal transport pairs each chunk of ten videos with: the paper's Fig. 2, and its share as a number.

    python -m worldmodel.benchmarks.studies.transport_plan [--root data/toyworld] [--videos FOLDER ...] [--picture PNG]

Each video is cut into consecutive chunks, and every chunk is both a source and a target: squared Euclidean cost between
normalised latent means of the checkpoint's VAE, uniform weights, exact plan (paper Eq. 4). The paper says neither
whether it takes latents or pixels nor how many chunks a video has, and prints no share.

Masks. (a) and (b) are the paper's: no chunk goes to itself, and chunks go to later chunks of their own video only.
Under (b) the cost has no say: the last chunk of a video has no target and the first no source, and n - 1 sources can
only all go forward to n - 1 targets if each goes to the very next. (c) is ours and leaves (b) a choice: later chunks
of the own video, or any chunk of another one. Chance is the same problem with the chunks shuffled among all places.

Shape legend: N chunks of all videos, K of one, F frames, C colours (3), H height, W width, D numbers of a latent.
"""

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.studies.chunk_plans import SHUFFLES, masks, owners, plans
from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.nuscenes import chunk_pairs, open_index
from worldmodel.datasets.video.cuts import scene_cuts, shots
from worldmodel.datasets.video.media_files import VIDEOS, is_media
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError
from worldmodel.files import written_whole
from worldmodel.flow.couplings import transport_plan
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of
from worldmodel.models.checkpoint import checkpoint_hashes, trained_chunk
from worldmodel.models.families import family_of
from worldmodel.models.open import open_pipeline
from worldmodel.pixels import signed_from_uint8

LEAST = 3  # chunks of a video, so that a chunk has a choice among those of its own
Chunks = UInt8[Tensor, "K F 3 H W"]
Clips = dict[str, Chunks]
Source = tuple[list[str], Callable[[str], Chunks | None]]  # names of videos, and what reads one: None if too short
COLOURS = ("white", "0.93", "tab:blue", "tab:orange")  # of the cells: empty, and
MEANINGS = ("not permitted", "mass on the next chunk of the same video", "mass elsewhere")


# --- chunks ---------------------------------------------------------------------------------------------------------
def drawn(names: Sequence[str], read: Callable[[str], Chunks | None], number: int, seed: int) -> Clips:
    """`number` videos in random order of `names`, without those that `read` finds too short."""
    clips: Clips = {}
    for name in random.Random(seed).sample(names, len(names)):
        if len(clips) < number and (chunks := read(name)) is not None:
            clips[name] = chunks
    if len(clips) < number:
        short = f"{len(clips)} of {len(names)} videos have {LEAST} chunks, {number} are needed"
        raise InputError(f"{short}: give more videos, or a smaller --number or --frames")
    return {name: clips[name] for name in names if name in clips}


def scene_clips(root: Path, version: str, camera: str, length: int, size: tuple[int, int], most: int) -> Source:
    """One camera of a nuScenes-format dataset, up to `most` consecutive chunks a scene."""
    index = open_index(root, version)
    pairs = chunk_pairs(index, cameras=camera, observed_frames=length, future_frames=length, stride=length, size=size)
    rows_PL = pairs.frame_rows()[:, 0]
    scenes = [pairs.scene(number) for number in range(len(pairs))]

    def read(scene: str) -> Chunks | None:
        rows_KF = longest_run([row for row, name in zip(rows_PL, scenes, strict=True) if name == scene], length)[:most]
        if len(rows_KF) < LEAST:
            return None
        frames_KFHWC = np.array([[pairs.frames.read_one(int(row)) for row in rows_F] for rows_F in rows_KF])
        return torch.from_numpy(frames_KFHWC).movedim(-1, 2)

    return sorted(set(scenes)), read


def longest_run(pairs_PL: Iterable[Int[np.ndarray, " L"]], length: int) -> list[Int[np.ndarray, " F"]]:
    """The most chunks in a row, out of pairs of which each may begin with the chunk that the one before ends with."""
    runs: list[list[np.ndarray]] = []
    for pair_L in pairs_PL:
        first_F, second_F = pair_L[:length], pair_L[length:]
        if not runs or not np.array_equal(runs[-1][-1], first_F):
            runs.append([first_F])
        runs[-1].append(second_F)
    return max(runs, key=len)


def video_clips(given: Sequence[Path], length: int, size: tuple[int, int], most: int) -> Source:
    """Files, and those in folders, at their own frame rate: up to `most` chunks from the start of the longest shot."""
    inside = [sorted(path.iterdir()) if path.is_dir() else [path] for path in given]
    files = [file for part in inside for file in part if file in given or is_media(Path(file.name), VIDEOS)]
    by_name = {"/".join(file.resolve().parts[-2:]): VideoReader(file) for file in files}

    def read(name: str) -> Chunks | None:
        source = by_name[name]
        frames = len(source.index())
        shot = max(shots(frames, scene_cuts(source)), key=len) if frames >= LEAST * length else range(0)
        chunks = min(most, len(shot) // length)
        return source.read(shot[: chunks * length], size).unflatten(0, (chunks, length)) if chunks >= LEAST else None

    return list(by_name), read


@torch.no_grad()
def encoded(backbone: Backbone, chunks_KFCHW: Chunks) -> Float[Tensor, "K D"]:
    """Normalised latent means of some chunks, one after the other."""
    device = next(backbone.vae.parameters()).device
    videos = (signed_from_uint8(chunk_FCHW.to(device).transpose(0, 1)[None]) for chunk_FCHW in chunks_KFCHW)
    return torch.cat([backbone.encode(video).mean_BCfhw.flatten(1).cpu() for video in videos])


def measure(backbone: Backbone, label: str, clips: Clips) -> Record:
    """Plans and shares of one set of videos."""
    counts = [len(chunks) for chunks in clips.values()]
    video_N = owners(counts)
    latents_ND = torch.cat([encoded(backbone, chunks) for chunks in clips.values()])
    return {
        "set": label,
        "chunks": dict(zip(clips, counts, strict=True)),
        "most_possible": round(1 - len(counts) / len(video_N), 4),
        "plans": plans(latents_ND, video_N),
    }


# --- results --------------------------------------------------------------------------------------------------------
def draw(sets: Sequence[Record], out: Path) -> None:
    """A row of plans per set, a column per mask; red lines between videos, as in the paper."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(10.2, 4.2 * len(sets) + 0.4), layout="constrained")
    heights = [4.2] * len(sets) + [0.4]
    *parts, foot = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, measured in zip(parts, sets, strict=True):
        part.suptitle(f"{measured['set']}: {len(measured['chunks'])} videos", fontweight="bold")
        row = part.subplots(1, len(measured["plans"]))
        for axes, plan in zip(row, measured["plans"], strict=True):
            _heat_map(axes, plan, list(measured["chunks"].values()))
        row[0].set_ylabel("source chunks, by video")
    foot.legend([Patch(color=colour) for colour in COLOURS[1:]], MEANINGS, loc="center", ncols=3, frameon=False)
    with written_whole(out, ".png") as partial:
        figure.savefig(partial, format="png", dpi=110)


def _heat_map(axes: Any, plan: Record, counts: list[int]) -> None:
    from matplotlib.colors import ListedColormap

    axes.imshow(_cells(plan, counts), cmap=ListedColormap(COLOURS), vmin=0, vmax=3)
    edges = np.cumsum([0, *counts]) - 0.5
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks((edges[:-1] + edges[1:]) / 2, range(1, len(counts) + 1), fontsize=7)
        axis.set_ticks(edges[1:-1], minor=True)
    axes.grid(which="minor", color="red", linestyle="--", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("target chunks, by video")
    shares = f"to the next: {plan['next']:.0%} (chance {plan['next_by_chance']:.0%})"
    axes.set_title(f"{plan['mask']}\n{shares}", fontsize=10)


def _cells(plan: Record, counts: list[int]) -> Int[np.ndarray, "N N"]:
    """Which of `COLOURS` each cell has."""
    video_N = owners(counts)
    cells_NN = (~masks(video_N)[plan["mask"]]).long().numpy()
    for source, target in enumerate(plan["target_of_source"]):
        cells_NN[source, target] = 2 if target == source + 1 and video_N[source] == video_N[target] else 3
    return cells_NN


def rows_of(sets: Sequence[Record]) -> list[dict[str, str]]:
    """The table's rows."""
    return [
        {
            "videos": measured["set"],
            "chunks": str(sum(measured["chunks"].values())),
            "mask": plan["mask"],
            "mass on the next chunk ↑": f"{plan['next']:.1%}",
            "most possible": f"{measured['most_possible']:.1%}",
            "chance": f"{plan['next_by_chance']:.1%}",
            "on the chunk before": f"{plan['previous']:.1%}",
            "within its video": f"{plan['same_video']:.1%}",
            "not permitted": f"{plan['not_permitted']:.1%}",
        }
        for measured in sets
        for plan in measured["plans"]
    ]


NOTE = (
    "(a) and (b) are the paper's masks, (c) is ours. Under (b) the mask alone sends every chunk to the next one, "
    "whatever the cost, so it is no evidence. Most possible: a video's last chunk has no next one. Chance: the same "
    f"chunks shuffled among the videos' places, mean of {SHUFFLES}. Published: the paper's Fig. 2 shows (a) and (b) "
    "for ten OpenVid videos in chunks of 41 frames as pictures; it prints no share."
)


def main() -> None:
    """Measure, print, and with --keep write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="nuScenes-format data (default: data/toyworld, unless --videos)")
    parser.add_argument("--version", default="v1.0-toy", help="its tables")
    parser.add_argument("--camera", default="CAM_FRONT")
    parser.add_argument("--videos", type=Path, nargs="+", action="append", default=[], help="one set: folders or files")
    parser.add_argument("--number", type=int, default=10, help="videos drawn from each set")
    parser.add_argument("--frames", type=int, help="of a chunk; by default as the checkpoint was trained")
    parser.add_argument("--most", type=int, default=6, help=f"chunks taken of a video at most, {LEAST} or more")
    parser.add_argument("--seed", type=int, default=0, help="for drawing the videos")
    parser.add_argument("--checkpoint", default="tiny", help="a shipped one by name, or the folder of a pipeline")
    parser.add_argument("--picture", type=Path, help="PNG for the heat maps")
    parser.add_argument("--keep", action="store_true", help="write the result to benchmarks/results")
    compare(parser.parse_args())


def compare(chosen: argparse.Namespace) -> None:
    """Every set that was asked for, the picture, and the tables."""
    transport_plan(torch.zeros(1, 1).double())  # where POT is absent it says so now
    about, checkpoint = machine.describe(("torch", "diffusers", "pot")), chosen.checkpoint
    backbone = open_pipeline(checkpoint).backbone
    trained, size = trained_chunk(checkpoint, family_of(backbone))
    length = chosen.frames or trained
    sources: dict[str, Source] = {}
    if root := chosen.root or (None if chosen.videos else Path("data/toyworld")):
        label = f"{chosen.version}, {chosen.camera}"
        sources[label] = scene_clips(root, chosen.version, chosen.camera, length, size, chosen.most)
    for given in chosen.videos:
        sources[" + ".join(path.name for path in given)] = video_clips(given, length, size, chosen.most)
    sets = [measure(backbone, label, drawn(*source, chosen.number, chosen.seed)) for label, source in sources.items()]
    if chosen.picture:
        draw(sets, chosen.picture)
    result = {"benchmark": "transport_plan", "frames": length, "size": size, "seed": chosen.seed, "sets": sets}
    result |= {**checkpoint_hashes(checkpoint, None), "machine": about}
    head = f"# Optimal transport between chunks\n\nLatents of {length} frames at {size[0]} x {size[1]}."
    head += " Video files at their own frame rate, from the start of the longest shot."
    publish("transport_plan", f"{head}\n\n{table_of(rows_of(sets))}\n\n{NOTE}", result, chosen.keep)


if __name__ == "__main__":
    main()
