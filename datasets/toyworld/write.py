"""Draws the scenes and writes them as a nuScenes v1.0 dataset."""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw
from tqdm import tqdm

from worldmodel.datasets.toyworld.landscape import build_landscape
from worldmodel.datasets.toyworld.recipe import ToyWorldConfig, data_hash, read_recipe
from worldmodel.datasets.toyworld.renderer import SceneRenderer
from worldmodel.datasets.toyworld.rig import RIG, pose_matrix
from worldmodel.datasets.toyworld.scenes import SceneScript, scene_script
from worldmodel.datasets.toyworld.tables import TABLES, Rows, SceneTables, shared_rows
from worldmodel.errors import InputError

METRES_PER_MASK_PIXEL = 0.1  # the devkit's default map resolution


def make_toyworld(root: Path, config: ToyWorldConfig, progress: bool = True, overwrite: bool = False) -> Path:
    """Make the dataset at `root`, or reuse it if it was made by the same recipe.

    It is drawn under a temporary name beside `root` and renamed when complete. Raises `InputError` when something
    else is at `root` (unless `overwrite`), or when the renderer is missing.
    """
    root = Path(root)
    if root.exists() and not overwrite and any(root.iterdir() if root.is_dir() else [root]):
        if read_recipe(root) == config.recipe():
            return root
        raise InputError(f"{root} holds something else than this toy world: choose another root or add overwrite=true")
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    rows = _draw_all(part, config, progress)
    _write_tables(part / config.version, rows, config)
    card = {"recipe": config.recipe(), "data_sha256": data_hash(part)}
    (part / "toyworld.json").write_text(json.dumps(card, indent=1) + "\n")
    if root.exists():
        shutil.rmtree(root)
    part.rename(root)
    return root


def _draw_all(part: Path, config: ToyWorldConfig, progress: bool) -> Rows:
    for camera in RIG:
        for folder in ("samples", "sweeps"):
            (part / folder / camera.channel).mkdir(parents=True)
    (part / "maps").mkdir()
    jobs = [(part, config, number) for number in range(len(config.scenes()))]
    rows: Rows = {name: [] for name in TABLES} | shared_rows()
    # Spawned processes: panda3d keeps state of its own that a fork would share.
    with ProcessPoolExecutor(min(config.workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        for scene_rows in tqdm(
            pool.map(draw_scene, *zip(*jobs, strict=True)), total=len(jobs), desc="draw scenes", disable=not progress
        ):
            for name, added in scene_rows.items():
                rows[name] += added
    return rows


def draw_scene(part: Path, config: ToyWorldConfig, number: int) -> Rows:
    """Draw and write the pictures of one scene; return its table rows."""
    split, index, name = config.scenes()[number]
    script = scene_script(config.seed, split, index, name, config.seconds + 0.5)
    script.seconds = config.seconds
    tables = SceneTables(script, config.seed, number, config.size)
    renderer = SceneRenderer(build_landscape(script), script.vehicles, config.size)
    for sweep in range(tables.sweeps):
        for camera in RIG:
            now = tables.script_s(tables.time_us(sweep, camera))
            pose = pose_matrix(*script.ego.at(now)) @ camera.extrinsic()
            picture = renderer.draw(camera.intrinsic(config.size), pose, now)
            encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=config.jpeg_quality)
            (part / tables.filename(sweep, camera)).write_bytes(encoded)
    renderer.close()
    rows = tables.rows()
    _draw_map(part / rows["map"][0]["filename"], script)
    return rows


def _draw_map(path: Path, script: SceneScript) -> None:
    """The roads as a mask, 255 on the road, its lower left pixel at the origin."""
    points = np.concatenate([road.track.xy_M2 for road in script.roads])
    width, height = (int(side) for side in np.ceil((points.max(axis=0) + 20) / METRES_PER_MASK_PIXEL))
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for road in script.roads:
        line = road.track.xy_M2 / METRES_PER_MASK_PIXEL
        line = [(float(x), height - 1 - float(y)) for x, y in line]
        pen.line(line, fill=255, width=round(2 * road.half_width / METRES_PER_MASK_PIXEL), joint="curve")
    mask.save(path, optimize=False)


def _write_tables(folder: Path, rows: Rows, config: ToyWorldConfig) -> None:
    folder.mkdir(parents=True)
    for name in TABLES:
        (folder / f"{name}.json").write_text(json.dumps(rows[name], indent=0))
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for split, _, name in config.scenes():
        splits[split].append(name)
    (folder / "splits.json").write_text(json.dumps(splits, indent=1))
