"""How fast and how faithfully 1600 x 900 JPEGs become 256 x 384 frames: `read_image` against PIL.

    python -m worldmodel.benchmarks.studies.jpeg_reading [--footage FOLDER] [--keep]

The pictures are frames of the real drives in FOLDER (default: WORLDMODEL_TEST_DATA, else ../shared/data), scaled and
cropped to 1600 x 900 and saved at quality 90, as they are and with the grain of a camera's sensor added until they
are as large as nuScenes' files. Every reader opens the same files in turn; the best of several rounds of CPU time
counts. Agreement is PSNR against PIL's LANCZOS from full size, which is what Vista's loader does.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from worldmodel.benchmarks.studies.results import RESULTS, publish
from worldmodel.datasets.images import read_image
from worldmodel.datasets.resize import crop_box
from worldmodel.errors import InputError
from worldmodel.files import media_url
from worldmodel.measure import machine
from worldmodel.measure.report import Record, table_of

SOURCE, SIZE = (900, 1600), (256, 384)
ROUNDS = 5
Reader = Callable[[Path], np.ndarray]


# --- pictures -------------------------------------------------------------------------------------------------------
def make_pictures(footage: Path, folder: Path, every: int, per_video: int, grain: float) -> list[Path]:
    """Save frames of every video in `footage`/driving as JPEGs of `SOURCE`, with Gaussian grain of that deviation."""
    videos = sorted((footage / "driving").glob("*.mp4"))
    if not videos:
        raise InputError(f"no film in {footage / 'driving'}; give --footage a folder that has driving/*.mp4")
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for video in videos:
        for number, frame in enumerate(_frames(video, every, per_video)):
            path = folder / f"{video.stem}_{number}.jpg"
            noisy = np.asarray(_fit(frame), dtype=np.float32) + rng.normal(0, grain or 1e-9, (*SOURCE, 1))
            Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(path, quality=90)
            paths.append(path)
    return paths


def _frames(video: Path, every: int, number: int) -> list[Image.Image]:
    frames: list[Image.Image] = []
    with av.open(media_url(video)) as container:
        for place, frame in enumerate(container.decode(video=0)):
            if place % every == 0:
                frames.append(frame.to_image())
            if len(frames) == number:
                break
    return frames


def _fit(frame: Image.Image) -> Image.Image:
    cropped = frame.crop(crop_box(frame.width, frame.height, *SOURCE))
    return cropped.resize(SOURCE[::-1], Image.Resampling.LANCZOS)


# --- readers --------------------------------------------------------------------------------------------------------
def pil_lanczos(path: Path) -> np.ndarray:
    """Open, crop, LANCZOS: the reference."""
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        picture = opened.convert("RGB")
    cropped = picture.crop(crop_box(picture.width, picture.height, *SIZE))
    return np.asarray(cropped.resize(SIZE[::-1], Image.Resampling.LANCZOS))


def pil_draft(path: Path) -> np.ndarray:
    """PIL's own half-size decoding, then BICUBIC."""
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        opened.draft("RGB", (SOURCE[1] // 2, SOURCE[0] // 2))
        picture = opened.convert("RGB")
    box = crop_box(picture.width, picture.height, *SIZE)
    return np.asarray(picture.resize(SIZE[::-1], Image.Resampling.BICUBIC, box=box))


READERS: dict[str, Reader] = {
    "PIL, LANCZOS": pil_lanczos,
    "PIL draft 1/2, BICUBIC": pil_draft,
    '`read_image`, `resample="area"`': lambda path: read_image(path, SIZE),
    '`read_image`, `resample="vista"`': lambda path: read_image(path, SIZE, "vista"),
}


def measure(paths: list[Path]) -> list[Record]:
    """CPU time per picture and agreement with LANCZOS of every reader, taken in turn."""
    best = dict.fromkeys(READERS, float("inf"))
    for _ in range(ROUNDS):
        for name, reader in READERS.items():
            start = time.process_time()
            for path in paths:
                reader(path)
            best[name] = min(best[name], time.process_time() - start)
    references = [pil_lanczos(path) for path in paths]
    rows = []
    for name, reader in READERS.items():
        psnr = [_psnr(reader(path), reference) for path, reference in zip(paths, references, strict=True)]
        rows.append(
            {
                "reader": name,
                "pictures_per_cpu_s": len(paths) / best[name],
                "factor": best["PIL, LANCZOS"] / best[name],
                "psnr_mean_db": float(np.mean(psnr)) if np.isfinite(psnr).all() else None,
                "psnr_least_db": float(np.min(psnr)) if np.isfinite(psnr).all() else None,
            }
        )
    return rows


def _psnr(frame: np.ndarray, reference: np.ndarray) -> float:
    error = np.mean((frame.astype(np.float64) - reference) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


# --- the comparison -------------------------------------------------------------------------------------------------
def compare(footage: Path, keep: bool) -> None:
    """Measure on clean and on grainy pictures, print the tables and the JSON line."""
    about = machine.describe(("pillow", "simplejpeg", "numpy"))
    sets = []
    with tempfile.TemporaryDirectory(prefix="jpeg-reading-") as folder:
        for label, grain in (("as decoded", 0.0), ("with grain", 3.0)):
            paths = make_pictures(footage, Path(folder) / label.replace(" ", "_"), every=15, per_video=4, grain=grain)
            kilobytes = float(np.mean([path.stat().st_size for path in paths])) / 1e3
            rows = measure(paths)
            sets.append({"set": label, "grain": grain, "pictures": len(paths), "mean_kb": kilobytes, "readers": rows})
    text = "# Reading 1600 x 900 JPEGs to 256 x 384\n\n" + "\n\n".join(_text(figures) for figures in sets)
    result = {"benchmark": "jpeg_reading", "source": SOURCE, "size": SIZE, "rounds": ROUNDS, "sets": sets}
    publish("jpeg_reading", text, result | {"machine": about}, keep)


def _text(measured: Record) -> str:
    rows = [
        {
            "reader": row["reader"],
            "pictures per CPU-s ↑": f"{row['pictures_per_cpu_s']:.0f}",
            "factor ↑": f"{row['factor']:.2f}",
            "PSNR to LANCZOS, dB ↑": _decibels(row),
        }
        for row in measured["readers"]
    ]
    grain = f" (deviation {measured['grain']:g})" if measured["grain"] else ""
    head = (
        f"{measured['pictures']} frames of real drives, {measured['set']}{grain}, quality 90, "
        f"{measured['mean_kb']:.0f} KB each on average; best of {ROUNDS} interleaved rounds, one thread, "
        "files in the page cache."
    )
    return f"{head}\n\n{table_of(rows)}"


def _decibels(row: Record) -> str:
    if row["psnr_mean_db"] is None:
        return "equal, bit for bit"
    return f"{row['psnr_mean_db']:.1f} (least {row['psnr_least_db']:.1f})"


def main() -> None:
    default = Path(os.environ.get("WORLDMODEL_TEST_DATA", RESULTS.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=default, help="folder that has driving/*.mp4")
    parser.add_argument("--keep", action="store_true", help="write the tables and JSON to benchmarks/results by date")
    chosen = parser.parse_args()
    compare(chosen.footage, chosen.keep)


if __name__ == "__main__":
    main()
