"""How much CPU time chunk pairs of a video cost, and whether the frames are the right ones: our reader, decord, OpenCV
and plain PyAV side by side.

    python -m worldmodel.benchmarks.studies.video_reading [--footage FOLDER] [--keep]

Speed: pairs of 34 and 82 frames at random starts of 1280 x 720 H.264, to 256 x 384 RGB. The videos are drawn and
encoded here (x264, medium, crf 23: groups of 250 and of 30 frames, with B pictures); besides, the real 1280 x 720
clips in FOLDER/web. Every reader opens the file anew for each pair, or for each four pairs, with one decoder thread;
readers take turns, and of every pair the best round counts. CPU time is the whole process's, decoder threads
included. decord, OpenCV and plain PyAV scale the whole picture to 256 x 384; ours crops the centre to the aspect.

Exactness: 25 random starts of 34 frames in videos that are awkward to seek in. A start is right if every frame is, of
the frames around it, the nearest to what the ffmpeg program decodes there, and near enough (26 dB).
"""

import argparse
import os
import random
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np

from tests.support.drawn_videos import NASTY, encode_video, moving_pictures
from tests.support.footage import ffmpeg_program
from worldmodel.benchmarks.studies.results import RESULTS, publish
from worldmodel.benchmarks.studies.video_readers import Reader, available, with_decord
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.files import media_url
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of

SOURCE, SIZE = (720, 1280), (256, 384)
FRAMES, LENGTHS, ROUNDS = 750, (34, 82), 3
OPENINGS = {1: 8, 4: 6, 8: 4}  # random openings of a file by the number of pairs read in each
SMALL, STARTS, NEAR, LEAST_DB = (360, 640), 25, 6, 26.0


# --- speed ----------------------------------------------------------------------------------------------------------
def make_videos(folder: Path) -> dict[str, list[Path]]:
    """The same pictures in groups of 250 and of 30 frames."""
    videos = {}
    for group in (250, 30):
        options = {"g": str(group), "preset": "medium", "crf": "23", "x264-params": "scenecut=0"}
        path = folder / f"groups_of_{group}.mp4"
        videos[f"GOP {group}"] = [encode_video(path, moving_pictures(FRAMES, *SOURCE), options)]
    return videos


def real_videos(footage: Path) -> list[Path]:
    """The clips of 1280 x 720 in `footage`/web, one longest pair and more."""
    sources = [VideoReader(path) for path in sorted((footage / "web").glob("*.mp4"))]
    long = [source for source in sources if len(source.index()) > max(LENGTHS)]
    return [source.path for source in long if tuple(source.read([0]).shape[2:]) == SOURCE]


def cpu_ms(readers: dict[str, Reader], videos: list[Path], length: int, together: int) -> dict[str, float]:
    """CPU-ms per pair of every reader, `together` pairs per opening."""
    chance, tasks = random.Random(1000 * length + together), []
    openings = OPENINGS[together]
    for number in range(openings):
        video = videos[number % len(videos)]
        last = len(VideoReader(video).index()) - length
        tasks.append((video, [range(at, at + length) for at in (chance.randint(0, last) for _ in range(together))]))
    best = {(name, number): float("inf") for name in readers for number in range(openings)}
    for _ in range(ROUNDS):
        for number, (video, spans) in enumerate(tasks):
            for name, reader in readers.items():
                start = time.process_time()
                reader(video, spans, SIZE)
                best[name, number] = min(best[name, number], time.process_time() - start)
    return {name: sum(best[name, n] for n in range(openings)) / (openings * together) * 1e3 for name in readers}


def measure_speed(readers: dict[str, Reader], videos: dict[str, list[Path]]) -> list[Record]:
    """One row per reader, video, length and number of pairs per opening; factors against decord with one pair."""
    rows: list[Record] = []
    for video, paths in videos.items():
        for length in LENGTHS:
            costs = {together: cpu_ms(readers, paths, length, together) for together in OPENINGS}
            judge = next((costs[1][name] for name, reader in readers.items() if reader is with_decord), None)
            for together, by_reader in costs.items():
                place = {"film": video, "frames": length, "pairs_per_open": together}
                rows += [
                    place | {"reader": name, "cpu_ms": cost, "factor": judge / cost if judge else None}
                    for name, cost in by_reader.items()
                ]
    return rows


# --- exactness ------------------------------------------------------------------------------------------------------
def reference_frames(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Every frame that the ffmpeg program shows, scaled, as [F, H, W, 3]; without ffmpeg, PyAV from the beginning."""
    program = ffmpeg_program()
    if program is None:
        with av.open(media_url(path)) as container:
            frames = [frame.reformat(size[1], size[0], "rgb24", interpolation="AREA") for frame in container.decode()]
        return np.stack([frame.to_ndarray() for frame in frames])
    options = ["-fps_mode", "passthrough", "-vf", f"scale={size[1]}:{size[0]}:flags=area", "-pix_fmt", "rgb24"]
    command = [program, "-v", "error", "-i", str(path), *options, "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *size, 3)


def wrong_starts(reader: Reader, path: Path, frames_FHWC: np.ndarray) -> int:
    """How many of `STARTS` random spans have a wrong frame, or cannot be read."""
    chance, length, wrong = random.Random(7), min(LENGTHS), 0
    for _ in range(STARTS):
        start = chance.randint(0, len(frames_FHWC) - length)
        try:
            read = reader(path, [range(start, start + length)], frames_FHWC.shape[1:3])[0]
            right = len(read) == length and all(_is(frames_FHWC, start + k, read[k]) for k in range(length))
        except Exception:  # whatever a reader raises, it did not deliver
            right = False
        wrong += not right
    return wrong


def _is(frames_FHWC: np.ndarray, number: int, read_HWC: np.ndarray) -> bool:
    first = max(0, number - NEAR)
    around = frames_FHWC[first : number + NEAR + 1, ::3, ::3].astype(np.float32)  # every ninth pixel is enough
    error = ((around - read_HWC[::3, ::3]) ** 2).mean((1, 2, 3))
    return int(error.argmin()) == number - first and 10 * np.log10(255**2 / (error.min() + 1e-9)) > LEAST_DB


def measure_exactness(readers: dict[str, Reader], folder: Path) -> list[Record]:
    """Wrong starts of every reader, one row per video."""
    pictures, rows = list(moving_pictures(180, *SMALL)), []
    for name, write in NASTY.items():
        path = write(folder, pictures)
        frames_FHWC = reference_frames(path, (SMALL[0] // 2, SMALL[1] // 2))
        counts = {reader: wrong_starts(read, path, frames_FHWC) for reader, read in readers.items()}
        rows.append({"film": name, "frames": len(frames_FHWC), "wrong": counts})
    return rows


# --- the comparison -------------------------------------------------------------------------------------------------
def compare(footage: Path, keep: bool) -> None:
    """Measure, print the tables and the JSON line."""
    packages = {"av": "av", "numpy": "numpy", "torch": "torch", "decord": "decord", "cv2": "opencv-python-headless"}
    about = machine.describe(tuple(package for module, package in packages.items() if find_spec(module)))
    readers = available()
    with tempfile.TemporaryDirectory(prefix="video-reading-") as folder:
        exact = measure_exactness(readers, Path(folder))
        videos = make_videos(Path(folder))
        if real := real_videos(footage):
            videos["real clips"] = real
        sizes = {video: sum(path.stat().st_size for path in paths) for video, paths in videos.items()}
        speed = measure_speed(readers, videos)
    judge = "the ffmpeg program" if ffmpeg_program() else "PyAV from the beginning"
    text = "\n\n".join([_speed_text(speed, list(readers)), _exact_text(exact, judge)])
    result = {
        "benchmark": "video_reading", "size": SIZE, "rounds": ROUNDS, "openings": OPENINGS, "bytes": sizes,
        "speed": speed, "exactness": exact, "exactness_against": judge,
    }  # fmt: skip
    publish("video_reading", f"# Reading chunk pairs from video\n\n{text}", result | {"machine": about}, keep)


def _speed_text(rows: list[Record], readers: list[str]) -> str:
    head = (
        f"CPU-ms per pair, to {SIZE[0]} x {SIZE[1]}, and how many times decord's speed with one pair per opening; "
        f"random openings, the best of {ROUNDS} interleaved rounds, one decoder thread, files in the page cache."
    )
    tables = []
    for together in OPENINGS:
        lines = []
        for reader in readers:
            own = [row for row in rows if row["reader"] == reader and row["pairs_per_open"] == together]
            lines.append({"reader": reader} | {f"{row['film']}, {row['frames']} f": _cell(row) for row in own})
        pairs = "1 pair" if together == 1 else f"{together} pairs"
        tables.append(f"{pairs} per opening ({OPENINGS[together]} openings):\n\n{table_of(lines)}")
    return "\n\n".join([head, *tables])


def _cell(row: Record) -> str:
    return f"{row['cpu_ms']:.0f}" + (f" (x{row['factor']:.2f})" if row["factor"] else "")


def _exact_text(rows: list[Record], judge: str) -> str:
    lines = [{"film": row["film"], "frames": row["frames"]} | row["wrong"] for row in rows]
    return f"Wrong starts of {STARTS} (34 frames each), against {judge} ↓:\n\n{table_of(lines)}"


def main() -> None:
    default = Path(os.environ.get("WORLDMODEL_TEST_DATA", RESULTS.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=default, help="folder that has web/*.mp4 (optional)")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    chosen = parser.parse_args()
    compare(chosen.footage, chosen.keep)


if __name__ == "__main__":
    main()
