"""The toy world as small films, for `train_tiny.py` on a machine that has no renderer: AV1 pictures in a row (AVIF).

    python runs/gpu/tiny_data.py --root data/toyworld --out outputs/tiny_data [--quality 50] [--most-mb 19]

The frames are those that training sees (`open_frame_store`: cut and scaled, gaps end a track); a film is a track of one
camera through one scene. Scenes are taken in turn until the limit is reached. `card.json` is the frame store's own, of
the tracks taken, so that unpacking gives a frame store again.
"""

import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from worldmodel.datasets.frame_store import FrameStore, StoredTrack, open_frame_store
from worldmodel.datasets.nuscenes import open_index, scenes_of_split

SIZE = (128, 192)
LENGTH = 34  # an observed and a future chunk
SPEED = 9  # of the encoder; 6 takes a fifth fewer bytes and ten times as long


def pack(root: Path, out: Path, split: str, quality: int, most_mb: float, workers: int) -> dict[str, float]:
    """Write the films of whole scenes until `most_mb` is reached; what was taken."""
    index = open_index(root, "v1.0-toy")
    here = set(index.scene_names)
    scenes = [scene for scene in scenes_of_split(index.root, "v1.0-toy", split) if scene in here]
    store = open_frame_store(index, out.with_name(f"{out.name}.store"), scenes, None, SIZE, LENGTH, workers)
    out.mkdir(parents=True, exist_ok=True)
    taken, size, start = [], 0, 0
    with ProcessPoolExecutor(workers) as pool:
        for scene in scenes:
            tracks = [track for track in store.tracks if track.scene == scene]
            films = list(pool.map(film, [(store.folder, track, quality) for track in tracks]))
            if size + sum(map(len, films)) > most_mb * 1e6:
                break
            for track, content in zip(tracks, films, strict=True):
                (out / f"{len(taken):04d}.avif").write_bytes(content)
                taken.append(StoredTrack(track.scene, track.camera, start, track.frames))
                start, size = start + track.frames, size + len(content)
    card = json.loads((store.folder / "card.json").read_text())
    card |= {"identity": f"{store.identity}, AVIF quality {quality}, {len(taken)} tracks"}
    card["tracks"] = [asdict(track) for track in taken]
    (out / "card.json").write_text(json.dumps(card) + "\n")
    scenes_taken = len({track.scene for track in taken})
    return {"scenes": scenes_taken, "tracks": len(taken), "frames": start, "mb": round(size / 1e6, 2)}


def film(job: tuple[Path, StoredTrack, int]) -> bytes:
    """One track as an AVIF sequence."""
    folder, track, quality = job
    frames = np.array(FrameStore(folder).frames_SHW3[track.start : track.start + track.frames])
    pictures = [Image.fromarray(frame) for frame in frames]
    into = io.BytesIO()
    pictures[0].save(
        into, "AVIF", save_all=True, append_images=pictures[1:], quality=quality, speed=SPEED, max_threads=1
    )
    return into.getvalue()


def unpack(films: Path, store: Path, workers: int) -> FrameStore:
    """The frame store of packed films, as `open_frame_store` would have made it but for the loss of coding."""
    card = json.loads((films / "card.json").read_text())
    tracks = [StoredTrack(**track) for track in card["tracks"]]
    store.mkdir(parents=True, exist_ok=True)
    paths = [films / f"{number:04d}.avif" for number in range(len(tracks))]
    shape = (sum(track.frames for track in tracks), *decoded(paths[0]).shape[1:])
    frames = np.lib.format.open_memmap(store / "frames.npy", mode="w+", dtype=np.uint8, shape=shape)
    with ProcessPoolExecutor(workers) as pool:
        for track, pictures in zip(tracks, pool.map(decoded, paths), strict=True):
            frames[track.start : track.start + track.frames] = pictures
    frames.flush()
    (store / "card.json").write_text(json.dumps(card))
    return FrameStore(store)


def decoded(path: Path) -> np.ndarray:
    """uint8 [F, H, W, 3]."""
    with Image.open(path) as opened:
        found = []
        for number in range(opened.n_frames):
            opened.seek(number)
            found.append(np.asarray(opened.convert("RGB")))
    return np.stack(found)


def main() -> None:
    """Read the command line, pack, say what was taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/toyworld"))
    parser.add_argument("--out", type=Path, default=Path("outputs/tiny_data"))
    parser.add_argument("--split", default="train")
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--most-mb", type=float, default=19.0)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    print(json.dumps(pack(chosen.root, chosen.out, chosen.split, chosen.quality, chosen.most_mb, chosen.workers)))


if __name__ == "__main__":
    main()
