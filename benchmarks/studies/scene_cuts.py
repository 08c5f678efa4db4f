"""How many scene cuts `datasets.video.cuts` finds, and how many it invents.

    python -m worldmodel.benchmarks.studies.scene_cuts [--footage FOLDER] [--keep]
    pip install scenedetect-headless                               # optional: its detectors beside ours

Three sets. Videos drawn and encoded here, whose cuts are known. Splices of the real videos in FOLDER that have no cuts
of their own (driving, multicam, web): random stretches put end to end, at full speed and three times as fast, with
every picture held for two or three frames as animations do, and in short shots; on these the rule's distance was
chosen. And FOLDER's clips with published cuts (listed in its README.md), which no number was fitted to. Dissolves are
made of the same videos, by the small pictures that the rule sees: a mean of blended pictures is the blend of
their means.

The published numbers come from another detector. A published number is called abrupt if the pixels change there at
least twice as much as at any of the four frames on either side; fades, dissolves and things that pass close to the
camera are not. Of those, the table says which lie in a dissolve or a fade that the rule finds.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.support.drawn_videos import encode_video, moving_pictures
from tests.support.footage import abrupt, published_cuts, without_cuts
from worldmodel.benchmarks.studies.results import RESULTS, publish
from worldmodel.benchmarks.studies.scene_detectors import others
from worldmodel.datasets.video.cuts import CutRule, Distances, Look, compared, cuts_of, distances, looks, shot_starts
from worldmodel.datasets.video.dissolves import DissolveRule, dissolves
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of

MODES = {  # pictures held, pictures skipped, shortest and longest shot
    "as it is": (1, 1, 16, 48),
    "3 times as fast": (1, 3, 16, 48),
    "held 2 frames": (2, 2, 16, 48),
    "held 2 frames, 2 times as fast": (2, 4, 16, 48),
    "held 3 frames": (3, 3, 16, 48),
    "held 3 frames, 2 times as fast": (3, 6, 16, 48),
    "shots of 5 to 10": (1, 1, 5, 10),
    "held 2 frames, shots of 6 to 12": (2, 2, 6, 12),
    "3 times as fast, shots of 5 to 10": (1, 3, 5, 10),
}
LEAST_DISTANCES = (0.35, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06)
VIDEOS, SHOTS = 40, 8
Case = tuple[Distances, set[int]]  # of a video, and where its cuts are


def score(cases: Iterable[Case], rule: CutRule) -> dict[str, float]:
    """Precision and recall over several videos."""
    count = true = right = 0
    for video, cuts in cases:
        frames = set(cuts_of(video, rule))
        count, true, right = count + len(frames), true + len(cuts), right + len(frames & cuts)
    return {"cuts": true, "precision": right / max(count, 1), "recall": right / max(true, 1)}


def generated(folder: Path) -> list[Case]:
    """Twelve encoded videos of eight shots of 12 to 40 frames."""
    cases = []
    for video in range(12):
        lengths = np.random.default_rng(video).integers(12, 40, SHOTS).tolist()
        drawn = (moving_pictures(frames, 96, 160, SHOTS * video + shot) for shot, frames in enumerate(lengths))
        path = encode_video(folder / f"{video}.mp4", (picture for shot in drawn for picture in shot), {"g": "250"})
        cases.append((distances(VideoReader(path)), set(np.cumsum(lengths)[:-1].tolist())))
    return cases


# --- real videos ----------------------------------------------------------------------------------------------------
def splices(videos: list[np.ndarray], held: int, skipped: int, shortest: int, longest: int) -> list[Case]:
    """Random stretches of videos, given as histograms [F, 1024], put end to end."""
    chance, cases = random.Random(held * 1000 + skipped * 100 + shortest), []
    for _ in range(VIDEOS):
        pieces: list[np.ndarray] = []
        last = -1
        for _ in range(SHOTS):
            frames = chance.randint(shortest, longest)
            span = (frames - 1) // held * skipped + 1
            last = chance.choice([n for n, video in enumerate(videos) if n != last and len(video) >= span])
            start = chance.randint(0, len(videos[last]) - span)
            pieces.append(videos[last][[start + k // held * skipped for k in range(frames)]])
        ends = np.cumsum([len(piece) for piece in pieces])
        cases.append((compared(np.concatenate(pieces)), set(ends[:-1].tolist())))
    return cases


def dissolved(videos: list[np.ndarray], length: int, skipped: int) -> dict[str, float]:
    """Recall of dissolves of `length` frames between random stretches, and the stretches that are found elsewhere.

    Args:
        videos: small pictures [F, h, w].
    """
    chance, hits, true, false = random.Random(100 * length + skipped), 0, 0, 0
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None]
    for _ in range(VIDEOS):
        pieces: list[np.ndarray] = []
        ends: list[int] = []
        for _ in range(SHOTS):
            frames = chance.randint(24, 48) + length
            video = chance.choice([video for video in videos if len(video) > frames * skipped])
            start = chance.randrange(len(video) - frames * skipped)
            piece = video[start : start + frames * skipped : skipped].astype(np.float32)
            if pieces:
                last = pieces.pop()
                ends.append(sum(map(len, pieces)) + len(last))
                pieces += [last[:-length], last[-length:] * (1 - share) + piece[:length] * share]
                piece = piece[length:]
            pieces.append(piece)
        spans = dissolves(np.concatenate(pieces).astype(np.uint8), (), DissolveRule())
        made = [range(end - length, end) for end in ends]
        hits += sum(any(a.start < b.stop and b.start < a.stop for a in spans) for b in made)
        false += sum(not any(a.start < b.stop and b.start < a.stop for b in made) for a in spans)
        true += len(made)
    return {"frames": length, "times as fast": skipped, "dissolves": true, "recall ↑": hits / true, "false": false}


def on_published(footage: Path) -> list[Record]:
    """One row per clip: what was published, what of it is abrupt, what the rule says."""
    rows = []
    for path, numbers in published_cuts(footage).items():
        source = VideoReader(path)
        ours = cuts_of(distances(source), CutRule())
        hits = [number for number in numbers if any(abs(number - cut) <= 1 for cut in ours)]
        rows.append(
            {
                "clip": path.stem,
                "frames": len(source.index()),
                "published": numbers,
                "abrupt": [number for number in numbers if abrupt(source, number)],
                "found": hits,
                "gradual": [[part.start, part.stop] for part in gradual_parts(source)],
                "also_found": [cut for cut in ours if all(abs(cut - number) > 1 for number in numbers)],
                "also_found_abrupt": [
                    cut for cut in ours if all(abs(cut - number) > 1 for number in numbers) and abrupt(source, cut)
                ],
            }
        )
    return rows


def gradual_parts(source: VideoReader) -> list[range]:
    """Dissolves and fades of a video."""
    seen = list(looks(source))
    hard = cuts_of(compared(look.shares for look in seen), CutRule())
    return dissolves(np.stack([look.small_HW for look in seen]), hard, DissolveRule())


# --- the measurement ------------------------------------------------------------------------------------------------
def compare(footage: Path, keep: bool) -> None:
    """Measure, print the tables and the JSON line."""
    about, rule = machine.describe(("av", "numpy")), CutRule()
    with tempfile.TemporaryDirectory(prefix="scene-cuts-") as folder:
        drawn = score(generated(Path(folder)), rule)
    text = [
        f"Rule: distance at least {rule.distance}, at least {rule.ratio:g} times the third largest within "
        f"{rule.around} frames, not returning.",
        f"Generated films: {drawn['cuts']} cuts, precision {drawn['precision']:.3f}, recall {drawn['recall']:.3f}.",
    ]
    result: Record = {"benchmark": "scene_cuts", "rule": asdict(rule), "generated": drawn}
    if videos := without_cuts(footage):
        start = time.process_time()
        seen = [list(looks(VideoReader(path)))[1:] for path in videos]  # one begins with a black frame
        shares = [np.stack([look.shares for look in video]) for video in seen]
        frames = sum(len(video) for video in shares)
        result["cpu_ms_per_frame"] = (time.process_time() - start) / frames * 1e3
        result["uncut"] = {"frames": frames, "said": sum(len(shot_starts(video, rule)) for video in seen)}
        result["splices"], result["dissolves"] = _on_splices(shares), _on_dissolves(seen)
        dissolves_text = f"Dissolves between stretches of these films:\n\n{table_of(result['dissolves'])}"
        text += [_uncut_text(result, len(videos)), _splices_text(result["splices"]), dissolves_text]
    if published := on_published(footage):
        result["published"] = published
        text += [_published_text(published)]
    if find_spec("scenedetect"):
        result["others"] = others(videos, list(published_cuts(footage)))
        text += [f"PySceneDetect, its defaults, same films at 144 x 256:\n\n{table_of(result['others'])}"]
    publish("scene_cuts", "# Scene cuts\n\n" + "\n\n".join(text), result | {"machine": about}, keep)


def _on_splices(videos: list[np.ndarray]) -> list[Record]:
    rows = []
    for name, mode in MODES.items():
        cases = splices(videos, *mode)
        rows += [{"mode": name, "distance": least} | score(cases, CutRule(least)) for least in LEAST_DISTANCES]
    return rows


def _on_dissolves(videos: list[list[Look]]) -> list[Record]:
    shape = Counter(video[0].small_HW.shape for video in videos).most_common(1)[0][0]
    small = [np.stack([look.small_HW for look in video]) for video in videos if video[0].small_HW.shape == shape]
    return [dissolved(small, length, skipped) for length in (6, 12, 24) for skipped in (1, 3)]


def _uncut_text(result: Record, videos: int) -> str:
    uncut = result["uncut"]
    return (
        f"{videos} real films without cuts, {uncut['frames']} frames: {uncut['said']} false. Decoding and comparing "
        f"take {result['cpu_ms_per_frame']:.1f} CPU-ms per frame."
    )


def _splices_text(rows: list[Record]) -> str:
    lines = []
    for mode in MODES:
        own = {row["distance"]: f"{row['precision']:.3f} / {row['recall']:.3f}" for row in rows if row["mode"] == mode}
        lines.append({"splices": mode} | {f"distance {least}": own[least] for least in LEAST_DISTANCES})
    return f"Splices of these films, {VIDEOS} x {SHOTS} shots each, precision / recall ↑:\n\n{table_of(lines)}"


def _published_text(rows: list[Record]) -> str:
    lines = [
        {
            "clip": row["clip"],
            "published": len(row["published"]),
            "of these abrupt": len(row["abrupt"]),
            "abrupt ones found ↑": len(set(row["abrupt"]) & set(row["found"])),
            "dissolves and fades": ", ".join(f"{start} to {stop - 1}" for start, stop in row["gradual"]) or "none",
            "published, not found": ", ".join(str(n) for n in row["published"] if n not in row["found"]) or "none",
            "found, not published": ", ".join(
                f"{n} ({'abrupt' if n in row['also_found_abrupt'] else 'not abrupt'})" for n in row["also_found"]
            )
            or "none",
        }
        for row in rows
    ]
    return f"Clips with published cuts (within 1 frame):\n\n{table_of(lines)}"


def main() -> None:
    default = Path(os.environ.get("WORLDMODEL_TEST_DATA", RESULTS.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=default, help="folder of real films (optional)")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    chosen = parser.parse_args()
    compare(chosen.footage, chosen.keep)


if __name__ == "__main__":
    main()
